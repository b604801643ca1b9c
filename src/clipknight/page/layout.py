"""What stands where on the page."""

from collections.abc import Iterator
from pathlib import Path

from clipknight.data.folders import VIDEO_SUFFIXES
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.page.captioning import Choices, Results
from clipknight.page.handlers import LONGEST_QUESTION, Handlers, Shown, forget

import gradio as gr

STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
MODEL = {"concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private"}  # one request at a time
DOWNLOADS = {
    "CSV": "Captions (CSV)",
    "JSON": "Captions (JSON)",
    "SRT": "Subtitles (SRT)",
    "VTT": "Subtitles (WebVTT)",
    "submission": "Embeddings (submission.csv)",
}
CUTS = [("whole", ""), ("by scene", "scenes"), ("every 5 seconds", "5s"), ("every 10 seconds", "10s")]
GREETING = (
    "# clipknight\nDrop pictures or clips, or a zip of them, and see what they say, and why. All stays on this machine."
)
THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])  # no web fonts


def build(handlers: Handlers, examples: list[str]) -> gr.Blocks:
    """The page, with pictures to try it as `examples`."""
    limits, offer = handlers.limits, handlers.offer
    age = (60, limits.kept)
    with gr.Blocks(title="clipknight", analytics_enabled=False, delete_cache=age) as page:
        gr.Markdown(GREETING)
        files = gr.File(
            label="Pictures, clips, or a zip",
            file_count="multiple",
            file_types=sorted({*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ".zip"}),
            height=180,
        )
        _take_no_urls(files)
        tried = gr.Gallery(
            examples,
            label="Or try one of these",
            columns=6,
            rows=1,
            height="auto",
            allow_preview=False,
            buttons=[],
            object_fit="cover",
            interactive=False,
            visible=bool(examples),
            elem_id="examples",
        )
        with gr.Accordion("Settings", open=False):
            with gr.Row():
                decoder = gr.Dropdown(offer.decoders, value=offer.decoders[0], label="Decoder, which writes captions")
                source = gr.Dropdown(offer.sources, value=offer.sources[0], label="Embeddings come from")
            with gr.Row():
                beams = gr.Slider(0, 10, 0, step=1, label="Beams", info="0: as many as the method's authors took")
                rerank = gr.Slider(0, 20, 10, step=1, label="Reranking", info="candidates that are compared")
                frames = gr.Slider(1, limits.frames, 5, step=1, label="Frames of a clip")
                every = gr.Dropdown(CUTS, value="", label="Clips are captioned")
        go = gr.Button("Caption", variant="primary")
        report = gr.HTML(elem_id="report")
        gallery = gr.Gallery(
            label="Captions",
            columns=4,
            allow_preview=False,
            buttons=[],
            object_fit="contain",
            interactive=False,
            elem_id="gallery",
            visible=False,
        )
        details = gr.HTML(elem_id="details")
        with gr.Row(visible=False) as asking:
            question = gr.Textbox(
                label="Ask about it", placeholder="What is it?", max_length=LONGEST_QUESTION, scale=4, submit_btn="Ask"
            )
        answer = gr.HTML(elem_id="answer")
        with gr.Row():
            downloads = {
                kind: gr.DownloadButton(label, visible=False, size="md", elem_id=f"download-{kind}")
                for kind, label in DOWNLOADS.items()
            }
        results = gr.State(None, time_to_live=limits.kept, delete_callback=forget)
        place = gr.State(0)
        models = [decoder, source]
        settings = [*models, beams, rerank, frames, every, results]
        shown = [report, gallery, results, asking, *downloads.values()]

        def updates(state: Shown) -> tuple:
            buttons = [
                gr.DownloadButton(value=state.files.get(kind), visible=kind in state.files) for kind in DOWNLOADS
            ]
            images = gr.Gallery(value=state.gallery, visible=len(state.gallery) > 1)
            return state.report, images, state.results, gr.Row(visible=bool(state.gallery)), *buttons

        def caption(paths, decoder, source, beams, rerank, frames, every, before) -> Iterator[tuple]:
            choices = Choices(int(beams), int(rerank), min(int(frames), limits.frames), every)
            for state in handlers.caption(paths, decoder, source, choices, before):
                yield updates(state)

        def caption_example(
            decoder, source, beams, rerank, frames, every, before, event: gr.SelectData
        ) -> Iterator[tuple]:
            yield from caption([examples[event.index]], decoder, source, beams, rerank, frames, every, before)

        def selected(results: Results | None, decoder, source, event: gr.SelectData):
            return event.index, handlers.explain(results, event.index, decoder, source), ""

        def first(results: Results | None, decoder, source):
            return 0, handlers.explain(results, 0, decoder, source), ""

        explained = [place, details, answer]
        for started in (
            gr.on([files.upload, go.click], caption, [files, *settings], shown, **MODEL),
            tried.select(caption_example, settings, shown, **MODEL),
        ):
            started.then(first, [results, *models], explained, **MODEL)
        gallery.select(selected, [results, *models], explained, **MODEL)
        question.submit(handlers.answer, [results, place, question, *models], answer, **MODEL)
    return page.queue(max_size=limits.queue, default_concurrency_limit=1)


def _take_no_urls(files: gr.File) -> None:
    """Have it take uploads alone: gradio would also fetch a file that a request names by its URL."""
    move = files.async_move_resource_to_block_cache

    async def move_uploaded(path: str | Path | None) -> str | None:
        if "://" in str(path):
            raise gr.Error("Files are taken from your own disk alone.", print_exception=False)
        return await move(path)

    files.async_move_resource_to_block_cache = move_uploaded

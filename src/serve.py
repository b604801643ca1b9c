"""A page for a browser on this machine: drop pictures or clips, see captions and why.

python src/serve.py                               # with the starter weights, at http://127.0.0.1:7860
python src/serve.py --run ensemble --port 8000
python src/serve.py --host 0.0.0.0                # for others in the network too
"""

from dataclasses import dataclass

from clipknight.devices import DeviceSettings, PrecisionSettings
from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Name, Port, PositiveFew
from clipknight.settings import parse


@dataclass(frozen=True, kw_only=True)
class Settings(DeviceSettings, PrecisionSettings):
    """Settings of serve.py"""

    run: Name = "starter"
    """that the page starts with: a run that captions or predicts, a pack, hf-hub:org/name; finished ones of outputs/
    can be chosen on the page"""
    from_: str = ""
    """where a captioning run's embeddings come from; by default its own"""
    language_model: Name = "smollm2"
    """that answers questions"""
    host: Name = "127.0.0.1"
    """address to listen on; 0.0.0.0 lets others in the network use the page, and there is no password"""
    port: Port = 7860
    """0 for any that is free"""
    batch_size: PositiveFew = 16
    """pictures and captions at a time"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from functools import partial

from clipknight.api.loading import load
from clipknight.page.examples import example_pictures
from clipknight.page.handlers import Handlers
from clipknight.page.models import Shelf, offered
from clipknight.page.server import listening, server_of, temporary_files
from clipknight.preparation import prepare_process
from clipknight.waiting import waiting


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    offer = offered(s.run, s.from_)
    hardware = {"device": s.device, "precision": s.precision, "batch_size": s.batch_size}
    shelf = Shelf(partial(load, language_model=s.language_model, **hardware))
    with temporary_files() as folder, listening(s.host, s.port) as port:
        from clipknight.page.layout import build  # an extra, and its files go where `temporary_files` says

        with waiting("loading the model"):
            shelf.model(offer.decoders[0], offer.sources[0]).ready()
        handlers = Handlers(offer, shelf, folder)
        server = server_of(build(handlers, example_pictures()), s.host)
        print(f"http://{s.host}:{port.getsockname()[1]} shows the page; Ctrl-C ends it", flush=True)
        server.run(sockets=[port])


if __name__ == "__main__":
    main()

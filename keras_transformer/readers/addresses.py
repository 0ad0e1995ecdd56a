"""Folders on the hubs of Hugging Face and Kaggle, downloaded by the hubs' own clients. This needs the network."""

from collections.abc import Iterable

from keras_transformer.inputs.addresses import read_address
from keras_transformer.inputs.paths import AnyPath

PACKAGES = {"hf": "huggingface_hub", "kaggle": "kagglehub"}


def local_folder(value: AnyPath, names: Iterable[str], argument: str = "folder") -> AnyPath:
    """The folder that an address names, downloaded unless it is in the hub's cache. A path is returned unchanged.

    Private models need a login: `hf auth login`, or `kagglehub.login()`. Without the network, a folder that was
    downloaded before is read from the cache.

    Args:
        value: "hf://user/model", "hf://user/model@revision", "kaggle://user/model/framework/variation", or a path.
        names: the files to download from Hugging Face, as names or patterns. Kaggle gives the whole folder.
        argument: the name of the argument, for messages.

    Returns:
        The path, a str, of the downloaded folder, or `value`.

    Raises:
        ValueError: an address of another form.
        ImportError: the hub's package is not installed. The message says how to install it.
        OSError: the download failed. The message says why.
    """
    address = read_address(value, argument)
    if address is None:
        return value
    try:
        return _download(address, names)
    except ModuleNotFoundError as error:
        package = PACKAGES[address.hub]
        if error.name != package:
            raise
        raise ImportError(f"{argument}={value!r} needs {package}: pip install {package}") from error
    except Exception as error:  # the clients and their libraries of the network raise many types
        reason = (" ".join(str(error).split()) or type(error).__name__).removesuffix(".")
        raise OSError(
            f"{argument}={value!r} could not be downloaded: {reason[:300]}. Check the address, the network and, for a "
            "private model, the login."
        ) from error


def _download(address, names):
    if address.hub == "kaggle":
        import kagglehub

        return kagglehub.model_download(address.handle)
    import huggingface_hub

    return huggingface_hub.snapshot_download(address.handle, revision=address.revision, allow_patterns=list(names))

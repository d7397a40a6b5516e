"""An adapter's life: saved, loaded, shared, switched, merged, taken off."""

from keras_pointpeft.adapters.base import disable_adapters
from keras_pointpeft.adapters.base import remember_base
from keras_pointpeft.adapters.files import load_adapter
from keras_pointpeft.adapters.files import read_config
from keras_pointpeft.adapters.files import read_contract
from keras_pointpeft.adapters.files import save_adapter
from keras_pointpeft.adapters.merge import merge
from keras_pointpeft.adapters.sharing import export_safetensors
from keras_pointpeft.adapters.sharing import import_safetensors
from keras_pointpeft.adapters.sharing import upload_adapter
from keras_pointpeft.adapters.summary import summary
from keras_pointpeft.adapters.variables import fingerprint
from keras_pointpeft.adapters.variables import split_variables

__all__ = [
    "disable_adapters",
    "export_safetensors",
    "fingerprint",
    "import_safetensors",
    "load_adapter",
    "merge",
    "read_config",
    "read_contract",
    "remember_base",
    "save_adapter",
    "split_variables",
    "summary",
    "upload_adapter",
]

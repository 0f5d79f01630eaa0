import subprocess
import sys

PROGRAM = """
import sys
import app.settings
print(*{"ctranslate2", "faster_whisper", "huggingface_hub", "numpy", "onnxruntime"} & sys.modules.keys())
"""


def test_families_are_imported_without_the_libraries_of_their_models() -> None:
    """The settings and every command import them, and must not wait for libraries that they do not use."""
    assert subprocess.check_output([sys.executable, "-c", PROGRAM], text=True).split() == []

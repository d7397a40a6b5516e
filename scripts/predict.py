"""Says what new scans are, or what their points belong to.

`keras-pointpeft predict` in a clone: `python scripts/predict.py --help`.
"""

from keras_pointpeft.commands import run

if __name__ == "__main__":
    run("predict")

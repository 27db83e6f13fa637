"""Made keras_digits.onnx, with TensorFlow 2.21, Keras 3.15 and tf2onnx 1.17, which autoopt does not need:

python keras_digits.py FOLDER && python -m tf2onnx.convert --saved-model FOLDER --output keras_digits.onnx
"""

import sys

import keras
from sklearn.datasets import load_digits

images, labels = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8, 1).astype("float32") / 16
keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.layers.Input((8, 8, 1)),
        keras.layers.Conv2D(16, 3, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(images[:1100], labels[:1100], epochs=15, verbose=0)
print(model.evaluate(images[1400:], labels[1400:], verbose=0))
model.export(sys.argv[1])

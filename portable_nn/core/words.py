"""Words of PyTorch and Keras that are others here: one table, from which messages and the documentation are made.

It is read only where something is missing: a name of the package, an attribute, or an option of a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, NoReturn

from portable_nn.core.errors import UsageError


class Word(NamedTuple):
    """The meaning of a word here.

    Attributes:
        whose: whose word it is.
        here: what to write, as the end of the sentence "… is".
    """

    whose: str
    here: str


class UnknownNameError(UsageError, AttributeError):
    """A name that another package has, and this one calls otherwise."""


class UnknownOptionError(UsageError, TypeError):
    """An option that a function does not have; where another package has it, the message says what it is here."""


def _of(whose: str, **words: str) -> dict[str, Word]:
    return {word: Word(whose, here) for word, here in words.items()}


_NO_MODES: Final = "not needed here: fit trains and predict infers, in the right mode"
_PROCESSOR: Final = "not needed here: networks run on the processor, by predict(x, engine='numpy') or 'onnxruntime'"
_OF_FIT: Final = "done by fit here: network.fit(x, y, loss=…, optimizer=…)"

_NETWORK: Final = {
    **_of(
        "PyTorch",
        state_dict="network.parameters here, a mapping of arrays by name; network.save(path) writes a file",
        load_state_dict="network.load_weights(path or arrays by name) here",
        named_parameters="network.parameters.items() here",
        forward="network.predict(x) here",
        eval=_NO_MODES,
        train=_NO_MODES,
        to=_PROCESSOR,
        cuda=_PROCESSOR,
        cpu=_PROCESSOR,
        double="Input(…, dtype='float64') here, when the network is made",
        half="export_onnx(network, path, float16=True) here",
        zero_grad=_OF_FIT,
        backward=_OF_FIT,
        requires_grad_="network.freeze('*') and network.unfreeze('*') here",
        modules="network.graph.nodes here; network.summary() prints them",
        children="network.graph.nodes here; network.summary() prints them",
    ),
    **_of(
        "Keras",
        compile="part of fit here: network.fit(x, y, loss=…, optimizer=…, metrics=…)",
        predict_on_batch="network.predict(x) here",
        train_on_batch=_OF_FIT,
        layers="network.graph.nodes here; network.summary() prints them",
        weights="network.parameters here, a mapping of arrays by name",
        trainable_weights="network.parameters here, a mapping of arrays by name",
        get_weights="network.parameters here, a mapping of arrays by name",
        set_weights="network.load_weights(arrays by name) here",
        save_weights="network.save(path) here",
        count_params="part of network.summary() here",
        add="pnn.Sequential(Input(…), layer, …) here, with all layers at once",
        pop="network.until(name) here, a network of the part before it",
        trainable="network.freeze('*') here",
        get_layer="network.until(name) here, a network that ends there",
        input_shape="network.graph.inputs[0].shape here",
        output_shape="network.types[network.graph.outputs[0]].shape here",
        to_json="part of the file here: network.save(path)",
    ),
    **_of(
        "scikit-learn",
        score="network.evaluate(x, y) here",
        partial_fit="network.fit(x, y) here, which goes on from the weights that are there",
    ),
}

_OPTIMIZER: Final = _of("PyTorch", step=_OF_FIT, zero_grad=_OF_FIT, state_dict="part of fit(…, checkpoint=folder) here")

_LAYER: Final = {
    **_of(
        "PyTorch",
        weight="network.parameters['dense_1.weight'] here: arrays belong to the network",
        forward="the call of the layer here: layer(symbol)",
    ),
    **_of(
        "Keras",
        kernel="network.parameters['dense_1.weight'] here: arrays belong to the network",
        get_weights="network.parameters here: arrays belong to the network",
        trainable="network.freeze('dense_1') here",
    ),
}

_LOSS: Final = "loss='{}' of network.fit here"

_NAMES: Final = {
    **_of(
        "PyTorch",
        nn="the package itself here: pnn.Dense, pnn.Conv2d",
        optim="the package itself here: pnn.SGD, pnn.Adam",
        Module="pnn.Layer here, or pnn.Network for a whole one",
        ModuleList="a Python list here",
        RMSprop="pnn.RMSProp here",
        CrossEntropyLoss=_LOSS.format("cross_entropy"),
        BCEWithLogitsLoss=_LOSS.format("binary_cross_entropy"),
        MSELoss=_LOSS.format("mean_squared_error"),
        L1Loss=_LOSS.format("mean_absolute_error"),
        HuberLoss="pnn.Huber(delta) here, as loss= of fit",
        SmoothL1Loss="pnn.Huber(delta) here, times delta",
        KLDivLoss=_LOSS.format("kl_divergence"),
        GaussianNLLLoss=_LOSS.format("gaussian"),
        MultiMarginLoss=_LOSS.format("hinge"),
        DataLoader="not needed here: network.fit(x, y, batch_size=…) takes arrays",
        no_grad="not needed here: predict computes no gradients",
        tensor="np.array here",
        save="network.save(path) here",
        StepLR="pnn.StepDecay here, as schedule= of fit",
        ExponentialLR="pnn.ExponentialDecay here, as schedule= of fit",
        CosineAnnealingLR="pnn.CosineDecay here, as schedule= of fit",
        LSTMCell="network.stream() of a network with pnn.LSTM here, called with one step after the other",
        GRUCell="network.stream() of a network with pnn.GRU here, called with one step after the other",
        RNNCell="network.stream() of a network with pnn.RNN here, called with one step after the other",
        TransformerEncoder="pnn.TransformerEncoderLayer here, as often as there are layers",
    ),
    **_of(
        "Keras",
        Model="pnn.Network(inputs=…, outputs=…) here",
        InputLayer="pnn.Input(sizes of one example) here",
        Conv1D="pnn.Conv1d(filters, kernel) here, with channels first",
        Conv2D="pnn.Conv2d(filters, kernel) here, with channels first",
        Conv3D="pnn.Conv3d(filters, kernel) here, with channels first",
        Conv2DTranspose="pnn.ConvTranspose2d(filters, kernel) here, with channels first",
        MaxPooling2D="pnn.MaxPool2d(kernel) here",
        MaxPool2D="pnn.MaxPool2d(kernel) here",
        AveragePooling2D="pnn.AvgPool2d(kernel) here",
        GlobalAveragePooling2D="pnn.GlobalAvgPool() here",
        GlobalMaxPooling2D="pnn.GlobalMaxPool() here",
        BatchNormalization="pnn.BatchNorm2d() here, or pnn.BatchNorm1d() after Dense",
        LayerNormalization="pnn.LayerNorm() here",
        UpSampling2D="pnn.Upsample(scale_factor=2) here",
        ZeroPadding2D="pnn.Pad here",
        SimpleRNN="pnn.RNN(units) here",
        Bidirectional="an option here: pnn.LSTM(units, bidirectional=True)",
        TimeDistributed="not needed here: pnn.Dense takes (batch, steps, features) as it is",
        Activation="a layer of that name here, such as pnn.ReLU()",
    ),
}

_RATES: Final = {
    **_of(
        "PyTorch",
        lr="learning_rate here",
        eps="epsilon here",
        betas="beta1 and beta2 here",
        params="not needed here: fit trains the parameters of the network that are not frozen",
        amsgrad="pnn.AMSGrad here",
    ),
    **_of(
        "Keras",
        beta_1="beta1 here",
        beta_2="beta2 here",
        rho="alpha here",
        decay="schedule= of fit here",
        clipnorm="an option of fit here: clip_norm=",
    ),
}

_FIT: Final = {
    **_of(
        "Keras",
        validation_data="validation=(x, y) here",
        validation_split="validation=0.1 here, a share",
        verbose="progress=True or False here",
        class_weight="an option of the loss here: loss=pnn.CrossEntropy(class_weight=…)",
        initial_epoch="resume=True here, with checkpoint=",
        learning_rate="an option of the optimizer here: optimizer=pnn.Adam(0.001)",
    ),
    **_of("PyTorch", lr="an option of the optimizer here: optimizer=pnn.Adam(0.001)", criterion="loss= here"),
}

_LAYER_OPTIONS: Final = _of(
    "Keras",
    activation="a layer of its own here, which follows: Dense(10), ReLU()",
    input_shape="a layer of its own here, which comes first: Input(784)",
    input_dim="a layer of its own here, which comes first: Input(784)",
    use_bias="bias here",
    kernel_initializer="weight_initial here",
    bias_initializer="bias_initial here",
    kernel_regularizer="weight_decay of the optimizer here",
    strides="stride here",
    kernel_size="kernel here",
    pool_size="kernel here",
    dilation_rate="dilation here",
    rate="ratio here",
    data_format="always channels first here",
    return_sequences="what is done here unless last=True asks for the states after the last step alone",
    return_state="the method with_states of the layer here",
    go_backwards="not offered here alone: bidirectional=True reads in both directions",
    stateful="network.stateful() here, or network.stream()",
    recurrent_initializer="weight_initial here",
)

WORDS: Final[Mapping[str, Mapping[str, Word]]] = {
    "pnn": _NAMES,
    "network": _NETWORK,
    "layer": _LAYER,
    "optimizer": _OPTIMIZER,
    "history": _of("Keras", history="the history itself here: history['loss']"),
    "fit(…)": _FIT,
    "loss=": _of(
        "Keras",
        mse="mean_squared_error here",
        sparse_categorical_crossentropy="cross_entropy here",
        categorical_crossentropy="cross_entropy here",
        binary_crossentropy="binary_cross_entropy here",
        crossentropy="cross_entropy here",
        mae="mean_absolute_error here",
        categorical_focal_crossentropy="focal here",
        kullback_leibler_divergence="kl_divergence here",
    ),
    "metrics=": _of(
        "Keras",
        acc="accuracy here",
        mae="mean_absolute_error here",
        mse="mean_squared_error here",
        Precision="precision here",
        sparse_categorical_accuracy="accuracy here",
        binary_accuracy="accuracy here",
    ),
    "Sequential(…)": _of("Keras", layers="given one by one here: Sequential(Input(784), Dense(10))"),
    "SGD(…), Adam(…)": _RATES,
    "Dense(…), Conv2d(…)": _LAYER_OPTIONS,
}
"""The meaning of a word, by the place where it is looked for: names and attributes, and the options of calls,
``(…)``."""


def meant(where: str, word: object) -> str:
    """A sentence on a word that is another here, after a colon; empty where it is not known."""
    found = WORDS[where].get(word) if isinstance(word, str) else None
    return f": {found.whose}'s {word} is {found.here}" if found else ""


_CALLS: Final = {
    "portable_nn.layers": "Dense(…), Conv2d(…)",
    "portable_nn.network.": "Sequential(…)",
    "portable_nn.training.fit": "fit(…)",
    "portable_nn.training.optimizers": "SGD(…), Adam(…)",
}
"""The places where the options of calls are looked for, by the beginnings of the names of modules."""


def unknown_option(called: str, module: str, options: Iterable[str]) -> UnknownOptionError | None:
    """The error for the first of ``options``, unknown to a function of this module, that is another word here."""
    for where in (where for start, where in _CALLS.items() if module.startswith(start)):
        for option in options:
            if sentence := meant(where, option):
                return UnknownOptionError(f"{called} has no option '{option}'{sentence}")
    return None


def attributes_of(where: str) -> Callable[[Any, str], NoReturn]:
    """A ``__getattr__`` for a class: it is called for attributes that are missing, and says what they are here."""

    def missing(self: Any, name: str) -> NoReturn:
        raise UnknownNameError(f"'{type(self).__name__}' has no attribute '{name}'{meant(where, name)}")

    return missing

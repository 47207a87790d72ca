"""Writes the ONNX models of the tests, and what onnxruntime says of some rows.

    pip install onnx==1.23.* onnxruntime==1.32.* numpy
    python make.py
"""

import json

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

F32, I64, F64 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.DOUBLE
ROWS = 5
random = np.random.default_rng(4)
expected = {}


def port(name, shape, kind=F32):
    return helper.make_tensor_value_info(name, kind, shape)


def weights(name, *shape):
    return numpy_helper.from_array(random.normal(0, 0.5, shape).astype(np.float32), name)


def write(name, nodes, inputs, outputs, constants=(), domains=()):
    graph = helper.make_graph(nodes, name, inputs, outputs, list(constants))
    opsets = [helper.make_opsetid("", 17)] + [helper.make_opsetid(*domain) for domain in domains]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="thalweg tests")
    onnx.save(model, f"{name}.onnx")
    return model


def expect(name, model, feeds):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    said = session.run(None, feeds)
    names = [output.name for output in session.get_outputs()]
    flat = lambda array: [float(value) for value in np.asarray(array).ravel()]
    expected[name] = {
        "inputs": {key: flat(value) for key, value in feeds.items()},
        "outputs": {key: flat(value) for key, value in zip(names, said)},
    }


def rows(*shape, kind=np.float32):
    return random.normal(0, 1, (ROWS, *shape)).astype(kind)


# Two inputs, two outputs, a free number of rows.
perceptron = write(
    "perceptron",
    [
        helper.make_node("Cast", ["counts"], ["counts_f32"], to=F32),
        helper.make_node("Concat", ["x", "counts_f32"], ["all"], axis=1),
        helper.make_node("Gemm", ["all", "w0", "b0"], ["h0"]),
        helper.make_node("Tanh", ["h0"], ["h1"]),
        helper.make_node("MatMul", ["h1", "w1"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["risk"]),
        helper.make_node("Softmax", ["h1"], ["kinds"], axis=1),
    ],
    [port("x", ["N", 3]), port("counts", ["N", 2], I64)],
    [port("risk", ["N", 1]), port("kinds", ["N", 7])],
    [weights("w0", 5, 7), weights("b0", 7), weights("w1", 7, 1)],
)
expect("perceptron", perceptron, {"x": rows(3), "counts": random.integers(0, 9, (ROWS, 2))})

# A window of two channels through a convolution and an LSTM.
recurrent = write(
    "recurrent",
    [
        helper.make_node("Transpose", ["window"], ["channels_first"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["channels_first", "wc", "bc"], ["c"], kernel_shape=[3], pads=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Transpose", ["r"], ["time_first"], perm=[2, 0, 1]),
        helper.make_node("LSTM", ["time_first", "wl", "rl", "bl"], ["", "h"], hidden_size=6),
        helper.make_node("Squeeze", ["h", "zero"], ["last"]),
        helper.make_node("MatMul", ["last", "wo"], ["next"]),
    ],
    [port("window", ["N", 8, 2])],
    [port("next", ["N", 2])],
    [
        weights("wc", 4, 2, 3),
        weights("bc", 4),
        weights("wl", 1, 24, 4),
        weights("rl", 1, 24, 6),
        weights("bl", 1, 48),
        weights("wo", 6, 2),
        numpy_helper.from_array(np.array([0], dtype=np.int64), "zero"),
    ],
)
expect("recurrent", recurrent, {"window": rows(8, 2)})

# A forest of two trees over three features, three classes. (Of two classes onnxruntime takes the label from the sign of one score.)
trees = dict(
    nodes_treeids=[0, 0, 0, 0, 0, 1, 1, 1],
    nodes_nodeids=[0, 1, 2, 3, 4, 0, 1, 2],
    nodes_featureids=[0, 0, 1, 0, 0, 2, 0, 0],
    nodes_values=[0.25, 0.0, -0.5, 0.0, 0.0, 0.1, 0.0, 0.0],
    nodes_modes=["BRANCH_LEQ", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"],
    nodes_truenodeids=[1, 0, 3, 0, 0, 1, 0, 0],
    nodes_falsenodeids=[2, 0, 4, 0, 0, 2, 0, 0],
    nodes_missing_value_tracks_true=[0] * 8,
    nodes_hitrates=[1.0] * 8,
)
leaves = [(0, 1), (0, 3), (0, 4), (1, 1), (1, 2)]
shares = [(0.1, 0.3, 0.1), (0.22, 0.07, 0.21), (0.03, 0.04, 0.43), (0.4, 0.05, 0.05), (0.02, 0.11, 0.37)]
forest = write(
    "forest",
    [
        helper.make_node(
            "TreeEnsembleClassifier",
            ["x"],
            ["label", "probabilities"],
            domain="ai.onnx.ml",
            classlabels_int64s=[0, 1, 2],
            class_treeids=[leaf[0] for leaf in leaves for _ in range(3)],
            class_nodeids=[leaf[1] for leaf in leaves for _ in range(3)],
            class_ids=[0, 1, 2] * len(leaves),
            class_weights=[weight for share in shares for weight in share],
            post_transform="NONE",
            **trees,
        )
    ],
    [port("x", ["N", 3])],
    [port("label", ["N"], I64), port("probabilities", ["N", 3])],
    domains=[("ai.onnx.ml", 3)],
)
expect("forest", forest, {"x": rows(3)})

# Batches of two rows, in doubles.
fixed = write(
    "fixed",
    [helper.make_node("Mul", ["x", "x"], ["square"]), helper.make_node("ReduceSum", ["square", "one"], ["y"], keepdims=0)],
    [port("x", [2, 3], F64)],
    [port("y", [2], F64)],
    [numpy_helper.from_array(np.array([1], dtype=np.int64), "one")],
)
feeds = rows(3, kind=np.float64)[:2].astype(np.float32).astype(np.float64)
expect("fixed", fixed, {"x": feeds})

# What can't be run.
write(
    "regressor",
    [
        helper.make_node(
            "TreeEnsembleRegressor",
            ["x"],
            ["y"],
            domain="ai.onnx.ml",
            n_targets=1,
            target_treeids=[0],
            target_nodeids=[1],
            target_ids=[0],
            target_weights=[1.0],
        ),
        helper.make_node("FusedGelu", ["y"], ["z"], domain="com.example"),
    ],
    [port("x", ["N", 3])],
    [port("z", ["N", 1])],
    domains=[("ai.onnx.ml", 3), ("com.example", 1)],
)
write(
    "open",
    [helper.make_node("Relu", ["x"], ["y"])],
    [port("x", ["N", "T", 3])],
    [port("y", ["N", "T", 3])],
)

with open("expected.json", "w") as file:
    json.dump(expected, file, indent=1)
    file.write("\n")

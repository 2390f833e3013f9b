"""Small ONNX models written out by hand."""

from __future__ import annotations

import onnx

HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'


def parse(graph: str, functions: str = "") -> bytes:
    """An ONNX file from the text form of its graph (onnx.parser), checked."""
    model = onnx.parser.parse_model(HEADER + graph + functions)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def parse_unchecked(graph: str) -> bytes:
    """The same for graphs that are wrong on purpose."""
    data: bytes = onnx.parser.parse_model(HEADER + graph).SerializeToString()
    return data


SKIP = """skip (float[N, 4] x) => (float[N, 4] y) {
    a = Relu(x)
    b = Neg(a)
    c = Exp(b)
    d = Add(a, c)
    e = Mul(d, d)
    y = Sub(e, d)
}"""

EARLY_OUTPUT = """early (float[N, 4] x) => (float[N, 4] first, float[N, 4] last) {
    first = Relu(x)
    b = Exp(first)
    last = Neg(b)
}"""

LATE_INPUT = """late (float[N, 4] x, float[N, 4] mask) => (float[N, 4] y) {
    a = Relu(x)
    b = Exp(a)
    y = Mul(b, mask)
}"""

PASSED_THROUGH = """passed (float[N, 4] x, float[N, 4] note) => (float[N, 4] note, float[N, 4] y) {
    a = Relu(x)
    y = Exp(a)
}"""

SHARED_CONSTANT = """shared (float[N, 4] x) => (float[N, 4] y, float[4] doubled)
<float[4] w = {1.0, 2.0, 3.0, 4.0}> {
    doubled = Add(w, w)
    a = Mul(x, doubled)
    b = Relu(a)
    c = Add(b, doubled)
    y = Mul(c, w)
}"""

CAPTURE = """capture (float[N, 4] x) => (float[N, 4] y)
<float[4] w = {1.0, -2.0, 3.0, 4.0}> {
    a = Relu(x)
    b = Exp(a)
    total = ReduceSum <keepdims = 0> (b)
    zero = Constant <value_float = 0.0> ()
    positive = Greater(total, zero)
    y = If (positive) <
        then_branch = then_graph () => (float[N, 4] t) {
            scaled = Mul(a, w)
            t = Add(scaled, b)
        },
        else_branch = else_graph () => (float[N, 4] t) { t = Neg(x) }
    >
}"""

LOOP = """loop (float[N, 4] x) => (float[N, 4] y)
<float[4] w = {1.0, -2.0, 3.0, 4.0}, bool go = {1}, int64 trips = {3}, float[N, 4] c> {
    a = Relu(x)
    b = Exp(a)
    c = Loop (trips, go, b) <
        body = body_graph (int64 i, bool on, float[N, 4] state) => (bool on_out, float[N, 4] next) {
            on_out = Identity(on)
            next = If (on) <
                then_branch = then_graph () => (float[N, 4] t) { t = Mul(a, w) },
                else_branch = else_graph () => (float[N, 4] t) { t = Neg(state) }
            >
        }
    >
    y = Add(c, x)
}"""

RANDOM = """random (float[N, 4] x) => (float[N, 4] y, float[2] z) {
    noise = RandomNormal <shape = [4]> ()
    pair = RandomUniform <shape = [2]> ()
    z = Neg(pair)
    a = Relu(x)
    b = Exp(a)
    c = Add(b, noise)
    y = Sub(c, noise)
}"""

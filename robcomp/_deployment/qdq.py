"""Surgery on an ONNX graph: a float graph in; integers, and the nodes that say what they mean, out.

A weight becomes int8 codes and a DequantizeLinear, an input a QuantizeLinear and a DequantizeLinear, a bias int32 codes
in steps of input step times weight step. ONNX Runtime fuses a convolution between such nodes into an integer kernel
where its result is rounded again. A convolution whose result stays float, because it is added or averaged next, has no
such kernel. Where it is pointwise it is written as a matrix product over channels, for which there is one; results stay
in channels-last order for as long as nothing asks for another."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper, shape_inference

PRODUCTS = ("Conv", "Gemm", "MatMul")
KEEPS_ORDER = ("MaxPool", "Flatten")  # rounding before or after makes no difference
CLIPS = ("Relu", "Clip")  # disappear in a rounding that clips as much
ELEMENTWISE = (*CLIPS, "Add", "QuantizeLinear")
NHWC, NCHW = [0, 2, 3, 1], [0, 3, 1, 2]


def attributes(node: NodeProto) -> dict:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


class Graph:
    """The nodes and constants of an ONNX model, open for changes; `close` puts them back."""

    def __init__(self, model: ModelProto):
        self.model, self.nodes = model, list(model.graph.node)
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        # equal tensors, stored once
        for node in [node for node in self.nodes if node.op_type == "Identity" and node.input[0] in self.constants]:
            self.constants[node.output[0]] = self.constants[node.input[0]]
            self.nodes.remove(node)
        known = shape_inference.infer_shapes(model).graph.value_info
        self.shapes = {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in known}
        self.last: dict[str, str] = {}  # tensor: the same in channels-last order

    def users(self, name: str) -> list[NodeProto]:
        return [node for node in self.nodes if name in node.input]

    def maker(self, name: str) -> NodeProto | None:
        return next((node for node in self.nodes if name in node.output), None)

    def products(self, weight: str) -> list[NodeProto]:
        """The convolutions and matrix products that use a weight, behind the transposition that a product may need."""
        found = []
        for node in self.users(weight):
            found += self.products(node.output[0]) if node.op_type == "Transpose" else [node]
        return found

    def multiplies(self, node: NodeProto, weight: str) -> bool:
        """Does a node multiply by a weight, as it is or transposed?"""
        if node.op_type not in PRODUCTS:
            return False
        maker = self.maker(node.input[1])
        return node.input[1] == weight or maker is not None and maker.op_type == "Transpose" and weight in maker.input

    def value(self, name: str) -> np.ndarray:
        """What a constant holds."""
        return (
            self.constants[name]
            if name in self.constants
            else numpy_helper.to_array(attributes(self.maker(name))["value"])
        )

    def add(self, kind: str, inputs: list[str], output: str, **options) -> str:
        """A new node, once: the name of what it makes."""
        if self.maker(output) is None:
            self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **options))
        return output

    def named(self, name: str, **parts: np.ndarray) -> list[str]:
        """Constants, by another name where the name stands for others."""
        while any(
            not np.array_equal(self.constants.setdefault(f"{name}_{part}", value), value)
            for part, value in parts.items()
        ):
            name += "_"
        return [f"{name}_{part}" for part in parts]

    def dequantized(self, name: str, codes: np.ndarray, step: np.ndarray) -> str:
        """Integer codes, a step per channel: the name of what they stand for."""
        parts = self.named(name, codes=codes, step=step, zero=np.zeros(step.shape, codes.dtype))
        return self.add("DequantizeLinear", parts, f"{parts[0]}_value", axis=0)

    def rounded(self, name: str, scale: float, zero: int) -> str:
        """A tensor on 256 levels; the same levels of the same tensor once."""
        maker = self.maker(name)
        if (
            maker is not None
            and maker.op_type == "DequantizeLinear"
            and [self.value(own) for own in maker.input[1:]] == [np.float32(scale), zero]
        ):
            return name
        levels = self.named(name, step=np.float32(scale), zero=np.uint8(zero))
        codes = self.add("QuantizeLinear", [name, *levels], f"{levels[0]}_levels")
        return self.add("DequantizeLinear", [codes, *levels], f"{levels[0]}_rounded")

    def round_early(self) -> None:
        """Round before what keeps the order of numbers, not after: there the rounding can be fused."""
        for node in [node for node in self.nodes if node.op_type == "QuantizeLinear"]:
            while (
                (before := self.maker(node.input[0]))
                and before.op_type in KEEPS_ORDER
                and len(self.users(node.input[0])) == 1
            ):
                levels = f"{node.output[0]}_early"
                node.input[0], before.input[0] = before.input[0], levels
                before.output[0], node.output[0] = node.output[0], levels

    def behind_clips(self, name: str) -> str:
        """What a tensor becomes where nothing but clips takes it."""
        while len(users := self.users(name)) == 1 and users[0].op_type in CLIPS:
            name = users[0].output[0]
        return name

    def stays_float(self, node: NodeProto) -> bool:
        """Is a result used by anything but one rounding?"""
        return [user.op_type for user in self.users(self.behind_clips(node.output[0]))] != ["QuantizeLinear"]

    def on_integers(self, node: NodeProto) -> bool:
        """Do all inputs come from integers?"""
        makers = [self.maker(name) for name in node.input]
        return all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)

    def is_pointwise(self, node: NodeProto) -> bool:
        """Is this an integer 1x1 convolution in the plane, of one group, whose size is known?"""
        if node.op_type != "Conv":
            return False
        what = attributes(node)
        return (
            what["kernel_shape"] == [1, 1]
            and what["group"] == 1
            and not any(what["pads"])
            and all(self.shapes.get(node.output[0], [0, 0])[1:])
            and self.on_integers(node)
        )

    def channels_last(self) -> None:
        """Write pointwise convolutions with float results as matrix products, and what follows in their order."""
        for node in self.ordered():
            if self.is_pointwise(node) and self.stays_float(node):
                self._product(node)
            elif node.op_type in ELEMENTWISE and all(
                name in self.last for name in node.input[: 2 if node.op_type == "Add" else 1]
            ):
                inputs = [self.last.get(name, name) for name in node.input]
                self._instead(node, self.add(node.op_type, inputs, f"{node.output[0]}_last", **attributes(node)))

    def _instead(self, node: NodeProto, last: str) -> None:
        """Let what a node makes be the transposition of a tensor in channels-last order."""
        self.last[node.output[0]] = last
        self.nodes.remove(node)
        self.add("Transpose", [last], node.output[0], perm=NCHW)

    def _product(self, node: NodeProto) -> None:
        source, weight, name = self.maker(node.input[0]), self.maker(node.input[1]), node.output[0]
        levels = self.last.get(source.input[0]) or self.add(
            "Transpose", [source.input[0]], f"{source.input[0]}_last", perm=NHWC
        )
        strides, (channels, height, width) = attributes(node)["strides"], self.shapes[name][1:]
        if max(strides) > 1:
            window = self.named(
                name,
                start=np.array([0, 0]),
                end=np.array([height * strides[0], width * strides[1]]),
                axes=np.array([1, 2]),
                strides=np.array(strides),
            )
            levels = self.add("Slice", [levels, *window], f"{name}_strided")
        codes = self.constants[weight.input[0]]
        shapes = self.named(name, rows=np.array([-1, codes.shape[1]]), plane=np.array([-1, height, width, channels]))
        rows = self.add("Reshape", [levels, shapes[0]], f"{name}_input_levels")
        inputs = [
            self.add("DequantizeLinear", [rows, *source.input[1:]], f"{name}_input"),
            self.dequantized(
                f"{weight.input[0].removesuffix('_codes')}_rows", codes[:, :, 0, 0], self.constants[weight.input[1]]
            ),
            *node.input[2:],
        ]
        product = self.add("Gemm", inputs, f"{name}_product", transB=1)
        self._instead(node, self.add("Reshape", [product, shapes[1]], f"{name}_last"))

    def ordered(self) -> list[NodeProto]:
        """The nodes, each after those that make what it takes."""
        made = {"", *self.constants, *(value.name for value in self.model.graph.input)}
        found, waiting = [], self.nodes
        while waiting:
            late = []
            for node in waiting:
                if made.issuperset(node.input):
                    found.append(node)
                    made.update(node.output)
                else:
                    late.append(node)
            waiting = late
        return found

    def separate_weights(self) -> None:
        """Codes of its own for each product: ONNX Runtime changes them in place, and fails at shared ones."""
        for node in [node for node in self.nodes if node.op_type == "DequantizeLinear"]:
            codes = self.constants.get(node.input[0])
            for number, user in enumerate(self.users(node.output[0])[1:] if codes is not None else (), 1):
                parts = [f"{part}_{number}" for part in node.input]
                self.constants |= dict(zip(parts, map(self.value, node.input)))
                own = self.add("DequantizeLinear", parts, f"{node.output[0]}_{number}", **attributes(node))
                user.input[list(user.input).index(node.output[0])] = own

    def close(self, **notes: str) -> ModelProto:
        """The model with its new nodes, without nodes and constants that nothing uses, and with notes."""
        wanted, kept = {value.name for value in self.model.graph.output}, []
        for node in reversed(self.ordered()):
            if wanted.isdisjoint(node.output):
                continue
            kept.append(node)
            wanted.update(node.input)
        graph = self.model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(reversed(kept))
        graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name) for name, value in self.constants.items() if name in wanted
        )
        helper.set_model_props(self.model, notes)
        return self.model

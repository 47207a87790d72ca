//! What a file must be before tract sees it: a graph whose operators are known and whose tensors are as large as they say.

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};

use crate::ModelError;

/// Domains of operators: ONNX's own, written in two ways, and its classical models.
const DOMAINS: [&str; 3] = ["", "ai.onnx", "ai.onnx.ml"];

/// The graph of a model, if it can be run.
pub(super) fn graph<'a>(proto: &'a ModelProto, known: &OnnxOpRegister) -> Result<&'a GraphProto, ModelError> {
    let refuse = |reason: &str| ModelError::OnnxFile(reason.to_owned());
    // Any bytes that look like protobuf decode to something: ask for what every model has.
    let graph = proto.graph.as_ref().ok_or_else(|| refuse("it has no graph"))?;
    if graph.node.is_empty() || graph.output.is_empty() {
        return Err(refuse("its graph has no nodes or no outputs"));
    }
    let mut unknown = Vec::new();
    visit(graph, &mut |node| {
        if !DOMAINS.contains(&node.domain.as_str()) {
            unknown.push(format!("`{}` of `{}`", node.op_type, node.domain));
        } else if !known.0.contains_key(&node.op_type) {
            unknown.push(format!("`{}`", node.op_type));
        }
    });
    unknown.sort();
    unknown.dedup();
    if !unknown.is_empty() {
        return Err(ModelError::OnnxOperator { operators: unknown.join(", ") });
    }
    if !proto.functions.is_empty() {
        return Err(refuse("it defines functions of its own; export it with them inlined"));
    }
    let mut wrong =
        graph.initializer.iter().find(|tensor| !is_whole(tensor)).map(|tensor| tensor.name.clone());
    visit(graph, &mut |node| {
        for attribute in &node.attribute {
            if attribute.t.iter().chain(&attribute.tensors).any(|tensor| !is_whole(tensor)) {
                wrong.get_or_insert_with(|| attribute.name.clone());
            }
            let within = attribute.g.iter().chain(&attribute.graphs).flat_map(|graph| &graph.initializer);
            for tensor in within.filter(|tensor| !is_whole(tensor)) {
                wrong.get_or_insert_with(|| tensor.name.clone());
            }
        }
    });
    match wrong {
        None => Ok(graph),
        Some(name) => Err(ModelError::OnnxFile(format!(
            "tensor `{name}` has other data than its shape says, or has it in another file; export it as one file"
        ))),
    }
}

/// All nodes, those of the branches and bodies of nodes among them. protobuf's own limit bounds the depth.
fn visit(graph: &GraphProto, see: &mut dyn FnMut(&NodeProto)) {
    for node in &graph.node {
        see(node);
        for attribute in &node.attribute {
            attribute.g.iter().chain(&attribute.graphs).for_each(|inner| visit(inner, see));
        }
    }
}

/// Whether a tensor's values are all in the file.
fn is_whole(tensor: &TensorProto) -> bool {
    let size = |dimension: &i64| usize::try_from(*dimension).ok();
    let count = tensor.dims.iter().map(size).try_fold(1_usize, |count, size| count.checked_mul(size?));
    let Some(count) = count else { return false };
    if tensor.raw_data.is_empty() {
        let counts = [
            tensor.float_data.len(),
            tensor.int32_data.len(),
            tensor.int64_data.len(),
            tensor.double_data.len(),
            tensor.uint64_data.len(),
            tensor.string_data.len(),
        ];
        return counts.into_iter().sum::<usize>() == count;
    }
    // `TensorProto.DataType`: bytes of an element.
    let bytes = match tensor.data_type {
        2 | 3 | 9 => 1,
        4 | 5 | 10 | 16 => 2,
        1 | 6 | 12 => 4,
        7 | 11 | 13 => 8,
        _ => return false,
    };
    count.checked_mul(bytes) == Some(tensor.raw_data.len())
}

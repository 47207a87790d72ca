//! Users' ONNX models, run by tract: pure Rust, nothing to install beside the binary.
//!
//! ```text
//!   bytes ─▶ checks: sizes of tensors, operators ─▶ shapes of one row ─▶ optimised plan
//!   rows ─▶ one after another through the plan ─▶ named columns
//! ```
//!
//! The first dimension of each input and output is that of rows: free (a symbol such as `N`), or a fixed number. All other dimensions of inputs
//! must be numbers. Elements are floats, integers or booleans; rows come as `f32` and are converted. Classifiers of scikit-learn need
//! `zipmap=False` as they are exported; of tree ensembles, tract runs classifiers only.
//!
//! A row runs alone, and first among zeros where the model wants more: tract's softmax gives other last bits to the second row of a
//! batch than to the first, and a row's outputs must not depend on where it stands.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::pb::{GraphProto, ModelProto, ValueInfoProto, tensor_shape_proto, type_proto};
use tract_onnx::prelude::*;

use crate::ModelError;
use crate::infer::{Element, Infer, Outputs, Port, check_inputs};
use crate::worker::message_of;

mod check;

/// Values of a row's input or output at most.
const WIDTH_MAX: usize = 1 << 20;
/// Rows that a model may want at once, at most.
const BATCH_ROWS_MAX: usize = 1024;

/// A model that came as ONNX.
pub struct OnnxModel {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// Rows that the model wants at once: 1, or the number that it fixes.
    batch_rows: usize,
    plan: Arc<TypedRunnableModel>,
}

impl std::fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxModel")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("batch_rows", &self.batch_rows)
            .finish_non_exhaustive()
    }
}

impl OnnxModel {
    /// Reads a model and prepares it to run. Its inputs and outputs are then known by name, type and shape.
    ///
    /// # Errors
    ///
    /// If the bytes are no ONNX, use an operator that can't be run (the error names it), or have an input or output that rows can't be
    /// laid into.
    pub fn from_bytes(bytes: &[u8]) -> Result<OnnxModel, ModelError> {
        // tract panics at some malformed graphs; a file that someone names in a spec must not end the process.
        catch_unwind(AssertUnwindSafe(|| OnnxModel::read(bytes)))
            .unwrap_or_else(|panic| Err(ModelError::OnnxFile(message_of(&*panic))))
    }

    fn read(bytes: &[u8]) -> Result<OnnxModel, ModelError> {
        let onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
        let proto = onnx.proto_model_for_read(&mut &*bytes).map_err(unreadable)?;
        let graph = check::graph(&proto, &onnx.op_register)?;
        let sources = sources(graph)?;
        let batch_rows = batch_rows(&sources)?;
        let inputs: Vec<Port> = sources.into_iter().map(|source| source.port).collect();
        let (outputs, plan) = plan(&onnx, &proto, graph, &inputs, batch_rows)?;
        Ok(OnnxModel { inputs, outputs, batch_rows, plan })
    }

    /// One row, to its part of each column.
    fn run(&self, row: usize, inputs: &[&[f32]], columns: &mut [Vec<f32>]) -> Result<(), ModelError> {
        let mut values = TVec::new();
        for (port, input) in self.inputs.iter().zip(inputs) {
            let width = port.width();
            let mut batch = input[row * width..(row + 1) * width].to_vec();
            batch.resize(self.batch_rows * width, 0.0);
            let shape = [&[self.batch_rows], port.shape.as_slice()].concat();
            let tensor = Tensor::from_shape(&shape, &batch).map_err(failed)?;
            values.push(
                tensor.cast_to_dt(datum_type(port.element)).map_err(failed)?.into_owned().into_tvalue(),
            );
        }
        let outputs = self.plan.run(values).map_err(failed)?;
        for ((port, output), column) in self.outputs.iter().zip(outputs).zip(columns) {
            let output = output.cast_to::<f32>().map_err(failed)?;
            let view = output.to_plain_array_view::<f32>().map_err(failed)?;
            if view.len() != self.batch_rows * port.width() {
                let (name, got) = (&port.name, view.len());
                return Err(ModelError::OnnxRun(format!("output `{name}` has {got} values")));
            }
            column.extend(view.iter().take(port.width()));
        }
        Ok(())
    }
}

impl Infer for OnnxModel {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn infer(&self, rows: usize, inputs: &[&[f32]]) -> Result<Outputs, ModelError> {
        check_inputs(&self.inputs, rows, inputs)?;
        let mut outputs = Outputs { rows, columns: vec![Vec::new(); self.outputs.len()] };
        for row in 0..rows {
            self.run(row, inputs, &mut outputs.columns)?;
        }
        Ok(outputs)
    }
}

/// An input of the graph.
struct Source {
    port: Port,
    /// The size of its first dimension; `None`: any.
    rows: Option<usize>,
}

/// The inputs that are not constants of the model.
fn sources(graph: &GraphProto) -> Result<Vec<Source>, ModelError> {
    let is_constant =
        |input: &ValueInfoProto| graph.initializer.iter().any(|tensor| tensor.name == input.name);
    graph.input.iter().filter(|input| !is_constant(input)).map(source).collect()
}

fn source(input: &ValueInfoProto) -> Result<Source, ModelError> {
    let refuse = |reason: String| ModelError::OnnxPort { port: format!("input `{}`", input.name), reason };
    let value = input.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = value else {
        return Err(refuse("it is no tensor; export it as one".to_owned()));
    };
    let element = element_of(tensor.elem_type)
        .ok_or_else(|| refuse("its elements are no numbers; export it with floats or integers".to_owned()))?;
    let dimensions = tensor.shape.as_ref().map(|shape| shape.dim.as_slice()).unwrap_or_default();
    let Some((rows, rest)) = dimensions.split_first() else {
        return Err(refuse(
            "it has no dimension for rows; export it with a first dimension of batches".to_owned(),
        ));
    };
    let size = |dimension: &tensor_shape_proto::Dimension| match &dimension.value {
        Some(tensor_shape_proto::dimension::Value::DimValue(size)) if *size > 0 => {
            usize::try_from(*size).ok()
        }
        _ => None,
    };
    let mut shape = Vec::with_capacity(rest.len());
    for (at, dimension) in rest.iter().enumerate() {
        let hint = || refuse(format!("its dimension {} has no fixed size; export it with one", at + 2));
        shape.push(size(dimension).ok_or_else(hint)?);
    }
    if shape
        .iter()
        .try_fold(1_usize, |width, size| width.checked_mul(*size))
        .is_none_or(|width| width > WIDTH_MAX)
    {
        return Err(refuse(format!("a row of it has more than {WIDTH_MAX} values")));
    }
    Ok(Source { port: Port { name: input.name.clone(), element, shape }, rows: size(rows) })
}

/// The size of batches that fits all inputs.
fn batch_rows(sources: &[Source]) -> Result<usize, ModelError> {
    if sources.is_empty() {
        return Err(ModelError::OnnxFile("it has no inputs".to_owned()));
    }
    let mut fixed = sources.iter().filter_map(|source| Some((source, source.rows?)));
    let Some((_, rows)) = fixed.next() else { return Ok(1) };
    let refuse = |source: &Source, reason| {
        Err(ModelError::OnnxPort { port: format!("input `{}`", source.port.name), reason })
    };
    if rows > BATCH_ROWS_MAX {
        return refuse(
            &sources[0],
            format!("batches of {rows} rows are too large: {BATCH_ROWS_MAX} are the most"),
        );
    }
    match fixed.find(|(_, other)| *other != rows) {
        Some((source, other)) => {
            refuse(source, format!("its batches have {other} rows and another input's {rows}"))
        }
        None => Ok(rows),
    }
}

/// The plan for batches of that size, and the outputs that it gives.
fn plan(
    onnx: &tract_onnx::Onnx,
    proto: &ModelProto,
    graph: &GraphProto,
    inputs: &[Port],
    batch_rows: usize,
) -> Result<(Vec<Port>, Arc<TypedRunnableModel>), ModelError> {
    let parsed = onnx.parse(proto, None).map_err(unreadable)?;
    if !parsed.unresolved_inputs.is_empty() {
        let names = parsed.unresolved_inputs.join("`, `");
        return Err(ModelError::OnnxFile(format!("nothing gives `{names}`")));
    }
    let mut model = parsed.model;
    let names: Vec<String> = model
        .input_outlets()
        .map_err(unreadable)?
        .iter()
        .map(|outlet| model.node(outlet.node).name.clone())
        .collect();
    for (at, name) in names.iter().enumerate() {
        let Some(port) = inputs.iter().find(|port| port.name == *name) else {
            return Err(ModelError::OnnxFile(format!(
                "its graph has an input `{name}` that it doesn't name"
            )));
        };
        let shape = [&[batch_rows], port.shape.as_slice()].concat();
        let fact = InferenceFact::dt_shape(datum_type(port.element), shape.as_slice());
        model.set_input_fact(at, fact).map_err(unreadable)?;
    }
    let model = model.into_optimized().map_err(unreadable)?;
    let mut outputs = Vec::with_capacity(graph.output.len());
    for (at, output) in graph.output.iter().enumerate() {
        let fact = model.output_fact(at).map_err(unreadable)?;
        outputs.push(sink(&output.name, fact, batch_rows)?);
    }
    Ok((outputs, model.into_runnable().map_err(unreadable)?))
}

fn sink(name: &str, fact: &TypedFact, batch_rows: usize) -> Result<Port, ModelError> {
    let refuse =
        |reason: &str| ModelError::OnnxPort { port: format!("output `{name}`"), reason: reason.to_owned() };
    let element = match fact.datum_type {
        DatumType::F32 | DatumType::F16 => Element::F32,
        DatumType::F64 => Element::F64,
        DatumType::I64 | DatumType::U64 => Element::I64,
        DatumType::Bool => Element::Bool,
        kind if kind.is_integer() => Element::I32,
        _ => {
            return Err(refuse(
                "its elements are no numbers; export numbers of classes instead of their names",
            ));
        }
    };
    let shape =
        fact.shape.as_concrete().ok_or_else(|| refuse("its size depends on the values of the input"))?;
    match shape.split_first() {
        Some((rows, rest)) if *rows == batch_rows && rest.iter().product::<usize>() <= WIDTH_MAX => {
            Ok(Port { name: name.to_owned(), element, shape: rest.to_vec() })
        }
        _ => Err(refuse(
            "its first dimension is not that of rows; export it with a row for each row of the input",
        )),
    }
}

/// The element type of ONNX's number for it (`TensorProto.DataType`).
fn element_of(data_type: i32) -> Option<Element> {
    match data_type {
        1 => Some(Element::F32),
        6 => Some(Element::I32),
        7 => Some(Element::I64),
        9 => Some(Element::Bool),
        11 => Some(Element::F64),
        _ => None,
    }
}

fn datum_type(element: Element) -> DatumType {
    match element {
        Element::F32 => DatumType::F32,
        Element::F64 => DatumType::F64,
        Element::I32 => DatumType::I32,
        Element::I64 => DatumType::I64,
        Element::Bool => DatumType::Bool,
    }
}

/// tract's errors are chains of what it was doing; all of it in one line.
fn unreadable(error: TractError) -> ModelError {
    ModelError::OnnxFile(one_line(&error))
}

fn failed(error: TractError) -> ModelError {
    ModelError::OnnxRun(one_line(&error))
}

fn one_line(error: &TractError) -> String {
    const LENGTH_MAX: usize = 300;
    let text = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LENGTH_MAX) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests;

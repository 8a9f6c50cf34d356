//! The data of the suite that every binding passes: packaging/bindings/README.md tells what it holds.

#![allow(dead_code)] // each test program uses a part of it

pub mod json;

use json::Json;
use sequence_layers::{DType, Element, Shape, Tensor, View};
use std::path::{Path, PathBuf};

/// build/suite, which packaging/bindings/suite makes, or SEQUENCE_LAYERS_SUITE.
pub fn folder() -> PathBuf {
    let in_tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../build/suite");
    std::env::var_os("SEQUENCE_LAYERS_SUITE").map_or(in_tree, PathBuf::from)
}

pub fn manifest() -> Json {
    let path = folder().join("suite.json");
    let text = std::fs::read_to_string(&path);
    Json::parse(&text.unwrap_or_else(|error| {
        panic!(
            "{}: {}: run packaging/bindings/suite",
            path.display(),
            error
        )
    }))
}

pub fn model(part: &Json) -> PathBuf {
    folder().join(part["model"].text())
}

pub fn dtype(name: &str) -> DType {
    let all = (0..32).map(DType::from_code);
    let found = all
        .filter(|dtype| dtype.name() == name)
        .collect::<Vec<DType>>();
    assert_eq!(found.len(), 1, "{}", name);
    found[0]
}

fn bytes(tensor: &Json) -> Vec<u8> {
    let path = folder().join(tensor["file"].text());
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {}", path.display(), error))
}

/// Types of which the suite holds values, in its byte order.
pub trait Stored: Element {
    fn decode(bytes: &[u8]) -> Self;
}

impl Stored for f32 {
    fn decode(bytes: &[u8]) -> Self {
        f32::from_le_bytes(bytes.try_into().unwrap())
    }
}

impl Stored for i32 {
    fn decode(bytes: &[u8]) -> Self {
        i32::from_le_bytes(bytes.try_into().unwrap())
    }
}

impl Stored for u8 {
    fn decode(bytes: &[u8]) -> Self {
        bytes[0]
    }
}

/// The values of a tensor.
pub fn values<T: Stored>(tensor: &Json) -> Vec<T> {
    assert_eq!(dtype(tensor["dtype"].text()), T::DTYPE);
    let out: Vec<T> = bytes(tensor)
        .chunks_exact(T::DTYPE.size())
        .map(T::decode)
        .collect();
    assert_eq!(out.len(), tensor["shape"].sizes().iter().product::<usize>());
    out
}

/// A sequence of float32 with its mask.
pub fn sequence(part: &Json) -> Tensor {
    let dims = part["values"]["shape"].sizes();
    let mut out = Tensor::from_values(&values::<f32>(&part["values"]), &dims).unwrap();
    out.mask_mut().copy_from_slice(&values(&part["mask"]));
    out
}

/// The steps [begin, end) of a sequence of float32.
pub fn steps(x: &Tensor, begin: usize, end: usize) -> Tensor {
    let dims = x.shape().dims();
    let (batch, time) = (dims[0], dims[1]);
    let channels: usize = dims[2..].iter().product();
    let mut part_dims = dims.to_vec();
    part_dims[1] = end - begin;
    let mut out = Tensor::zeros(&Shape::sequence(x.shape().dtype(), &part_dims).unwrap()).unwrap();
    for item in 0..batch {
        let from = (item * time + begin) * channels..(item * time + end) * channels;
        let to = item * (end - begin) * channels..(item + 1) * (end - begin) * channels;
        out.values_mut::<f32>().unwrap()[to].copy_from_slice(&x.values().unwrap()[from]);
        let from = item * time + begin..item * time + end;
        let to = item * (end - begin)..(item + 1) * (end - begin);
        out.mask_mut()[to].copy_from_slice(&x.mask()[from]);
    }
    out
}

/// Checks the mask exactly and the values where it is true.
pub fn assert_close(found: &View<'_>, expected: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(found.shape(), *expected.shape(), "{}", what);
    assert_eq!(found.mask().unwrap(), expected.mask(), "{}: mask", what);
    let channels: usize = expected.shape().dims()[2..].iter().product();
    let pairs = found.to_vec::<f32>().unwrap().into_iter();
    for (index, (a, b)) in pairs.zip(expected.values::<f32>().unwrap()).enumerate() {
        let is_valid = expected.mask()[index / channels] != 0;
        let difference = f64::from((a - b).abs());
        assert!(
            !is_valid || difference <= tolerance,
            "{}: {} is {}, expected {}",
            what,
            index,
            a,
            b
        );
    }
}

pub fn assert_near(found: &[f32], expected: &[f32], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{}", what);
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        let difference = f64::from((a - b).abs());
        assert!(
            difference <= tolerance,
            "{}: {} is {}, expected {}",
            what,
            index,
            a,
            b
        );
    }
}

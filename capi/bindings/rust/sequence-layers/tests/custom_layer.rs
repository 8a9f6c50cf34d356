//! Faults of custom layers become errors.

use sequence_layers::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// Multiplies by two, unless it is told to fail.
struct Double {
    panics_in: &'static str,
    alive: Arc<AtomicUsize>,
}

impl Double {
    fn maybe_panic(&self, method: &str) {
        if self.panics_in == method {
            panic!("no {} today", method);
        }
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
        if self.panics_in == "drop" {
            panic!("no drop today");
        }
    }
}

impl CustomLayer for Double {
    fn properties(&self) -> Result<Properties> {
        self.maybe_panic("properties");
        Ok(Properties::default())
    }

    fn output_spec(&self, input: &ChannelSpec) -> Result<ChannelSpec> {
        self.maybe_panic("output_spec");
        Ok(*input)
    }

    fn state_size(&self, _input: &ChannelSpec) -> Result<usize> {
        self.maybe_panic("state_size");
        // The library asks more than once; another answer would be memory of others.
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        Ok(4 << CALLS.fetch_add(1, Ordering::SeqCst).min(20))
    }

    fn state_init(&self, _input: &ChannelSpec, state: &mut CustomState<'_>) -> Result<()> {
        self.maybe_panic("state_init");
        assert!(state.item_mut(0).iter().all(|&byte| byte == 0));
        state.bytes_mut().fill(7);
        Ok(())
    }

    fn layer(&self, x: &View<'_>, y: &mut ViewMut<'_>) -> Result<()> {
        self.maybe_panic("layer");
        for (y, x) in y.values_mut::<f32>()?.iter_mut().zip(x.values::<f32>()?) {
            *y = 2.0 * x;
        }
        Ok(())
    }

    fn step(&self, state: &mut CustomState<'_>, x: &View<'_>, y: &mut ViewMut<'_>) -> Result<()> {
        self.maybe_panic("step");
        assert!(state.bytes_mut().iter().all(|&byte| byte == 7));
        self.layer(x, y)
    }
}

fn made(panics_in: &'static str, alive: &Arc<AtomicUsize>) -> Result<Layer> {
    let mut registry = Registry::new()?;
    let alive = alive.clone();
    registry.add("Double", move |_config, _weights| {
        if panics_in == "create" {
            panic!("no create today");
        }
        alive.fetch_add(1, Ordering::SeqCst);
        let alive = alive.clone();
        Ok(Double { panics_in, alive })
    })?;
    Layer::create(
        r#"{"type": "Double"}"#,
        None,
        &LayerOptions::new().registry(&registry),
    )
}

/// Makes the model, runs it whole, and steps it.
fn used(panics_in: &'static str, alive: &Arc<AtomicUsize>) -> Result<Vec<f32>> {
    let layer = made(panics_in, alive)?;
    let x = Tensor::from_values(&[1f32, 2.0], &[2, 1])?;
    layer.apply_new(&x.view(), Run::new())?;
    let mut state = State::new(&layer, &StateOptions::new().batch(2))?;
    let y = state.step_new(&x.view(), Run::new())?;
    Ok(y.values()?.to_vec())
}

#[test]
fn panics_become_errors() {
    std::panic::set_hook(Box::new(|_| {})); // the panics are meant
    let alive = Arc::new(AtomicUsize::new(0));
    for method in [
        "create",
        "properties",
        "output_spec",
        "state_size",
        "state_init",
        "layer",
        "step",
    ] {
        let error = used(method, &alive).expect_err(method);
        assert_eq!(error.status(), Status::Callback, "{}", method);
        let message = format!("panicked: no {} today", method);
        assert!(error.message().contains(&message), "{}", error);
        assert_eq!(alive.load(Ordering::SeqCst), 0, "{} leaks", method);
    }
    assert_eq!(used("drop", &alive).unwrap(), [2.0, 4.0]);
    assert_eq!(used("never", &alive).unwrap(), [2.0, 4.0]);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

struct Refuses;

impl CustomLayer for Refuses {
    fn layer(&self, _x: &View<'_>, _y: &mut ViewMut<'_>) -> Result<()> {
        Err(Error::new(Status::OutOfMemory, "é".repeat(2000)))
    }
}

#[test]
fn long_messages_are_cut_between_characters() {
    let mut registry = Registry::new().unwrap();
    registry.add("Refuses", |_, _| Ok(Refuses)).unwrap();
    let options = LayerOptions::new().registry(&registry);
    let layer = Layer::create(r#"{"type": "Refuses"}"#, None, &options).unwrap();
    let x = Tensor::from_values(&[1f32], &[1, 1]).unwrap();
    let error = layer.apply_new(&x.view(), Run::new()).unwrap_err();
    assert_eq!(error.status(), Status::OutOfMemory);
    assert!(error.message().contains("ééé"), "{}", error);
    assert!(error.message().len() < 1016);
}

#[test]
fn a_type_is_added_once() {
    let mut registry = Registry::new().unwrap();
    registry.add("Refuses", |_, _| Ok(Refuses)).unwrap();
    let again = registry.add("Refuses", |_, _| Ok(Refuses)).unwrap_err();
    assert_eq!(again.status(), Status::InvalidArgument);
    let built_in = registry.add("Dense", |_, _| Ok(Refuses)).unwrap_err();
    assert_eq!(built_in.status(), Status::InvalidArgument);
    assert_eq!(registry.types().len(), built_in_types().len() + 1);
}

/// Halves the rate, and says each property.
struct Halves;

impl CustomLayer for Halves {
    fn properties(&self) -> Result<Properties> {
        let mut out = Properties::default();
        out.block_size = 4;
        out.output_ratio = (1, 2);
        out.input_latency = 2;
        out.output_latency = Some(0);
        out.receptive_field = ReceptiveField {
            start: Some(-1),
            end: None,
        };
        out.layer_wise_only = true;
        Ok(out)
    }

    fn layer(&self, _x: &View<'_>, _y: &mut ViewMut<'_>) -> Result<()> {
        Ok(())
    }
}

#[test]
fn properties_reach_the_library() {
    let mut registry = Registry::new().unwrap();
    registry.add("Halves", |_, _| Ok(Halves)).unwrap();
    let options = LayerOptions::new().registry(&registry);
    let layer = Layer::create(r#"{"type": "Halves"}"#, None, &options).unwrap();
    assert_eq!(layer.block_size().unwrap(), 4);
    assert_eq!(layer.output_ratio().unwrap(), (1, 2));
    assert_eq!(layer.input_latency().unwrap(), 2);
    assert_eq!(layer.output_latency().unwrap(), 0);
    assert!(!layer.supports_step().unwrap());
    let field = layer.receptive_field().unwrap().unwrap();
    assert_eq!((field.start, field.end), (Some(-1), None));
    let error = State::new(&layer, &StateOptions::new()).unwrap_err();
    assert_eq!(error.status(), Status::Unsupported);
}

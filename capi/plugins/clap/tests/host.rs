//! The plugin in a host of the tests' own.

mod support;

use clap_sys::ext::audio_ports::{
    clap_audio_port_info, clap_plugin_audio_ports, CLAP_EXT_AUDIO_PORTS,
};
use clap_sys::ext::params::{clap_param_info, clap_plugin_params, CLAP_EXT_PARAMS};
use sequence_layers::{Layer, Pipe, PipeOptions, Run, View};
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use support::{model, roughness, sines, Instance, Set, MAX_FRAMES, RATE};

/// Sizes of calls from one frame to the maximum.
const SIZES: [usize; 9] = [64, 1, 512, 37, 480, 4096, 3, 1000, 255];

const HALF: &str = r#"{"type": "Scale", "scale": 0.5}"#;

/// Through a Fourier transform and back, which has a latency, and a quarter of it.
const QUARTER: &str = r#"{"type": "Serial", "layers": [
    {"type": "STFT", "frame_length": 400, "frame_step": 160, "fft_length": 512, "time_padding": "semicausal"},
    {"type": "InverseSTFT", "frame_length": 400, "frame_step": 160, "fft_length": 512,
     "window_fn": {"function": "inverse_stft", "frame_step": 160}},
    {"type": "Scale", "scale": 0.25}]}"#;

/// Looks ahead, and so has a latency, but starts without a transient of its own.
const AHEAD: &str = r#"{"type": "Serial", "layers": [
    {"type": "Lookahead", "length": 150}, {"type": "Scale", "scale": 0.25}]}"#;

/// Sounds longer than its input.
const LATER: &str = r#"{"type": "Serial", "layers": [
    {"type": "Delay", "length": 3}, {"type": "Scale", "scale": 0.7}]}"#;

fn half() -> PathBuf {
    model("half", HALF, None)
}

fn quarter() -> PathBuf {
    model("quarter", QUARTER, None)
}

fn ahead() -> PathBuf {
    model("ahead", AHEAD, None)
}

/// The model's output for each channel as a whole.
fn whole(path: &Path, input: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let layer = Layer::open(path).unwrap();
    let run = |channel: &Vec<f32>| {
        let x = View::new(channel, &[1, channel.len()]).unwrap();
        let y = layer.apply_new(&x, Run::new()).unwrap();
        y.values::<f32>().unwrap().to_vec()
    };
    input.iter().map(run).collect()
}

/// A pipe's output for the input in calls of one size.
fn piped(path: &Path, input: &[Vec<f32>], rate: f64) -> (Vec<Vec<f32>>, usize) {
    let layer = Layer::open(path).unwrap();
    let options = PipeOptions::new()
        .host_rate(rate)
        .host_channels(input.len())
        .max_frames(MAX_FRAMES);
    let mut pipe = Pipe::new(&layer, &options).unwrap();
    let mut output: Vec<Vec<f32>> = input.iter().map(|c| vec![0.0; c.len()]).collect();
    for begin in (0..input[0].len()).step_by(500) {
        let end = (begin + 500).min(input[0].len());
        let input: Vec<&[f32]> = input.iter().map(|c| &c[begin..end]).collect();
        let mut output: Vec<&mut [f32]> = output.iter_mut().map(|c| &mut c[begin..end]).collect();
        pipe.process(&input, &mut output).unwrap();
    }
    (output, pipe.latency())
}

fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= tolerance,
            "{}: {}: {} {}",
            what,
            index,
            a,
            b
        );
    }
}

/// Checks all channels bit for bit, and shows the first sample that differs.
fn assert_same(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), expected.len(), "{}", what);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len(), "{}", what);
        assert_near(found, expected, 0.0, what);
    }
}

#[test]
fn the_factory_has_a_mono_and_a_stereo_form() {
    let factory = support::factory();
    // SAFETY: indices in range, and strings that live as long as the file is open.
    unsafe {
        assert_eq!(factory.get_plugin_count.unwrap()(factory), 2);
        assert!(factory.get_plugin_descriptor.unwrap()(factory, 2).is_null());
        for (index, id) in ["sequence-layers.mono", "sequence-layers.stereo"]
            .iter()
            .enumerate()
        {
            let descriptor = &*factory.get_plugin_descriptor.unwrap()(factory, index as u32);
            assert_eq!(CStr::from_ptr(descriptor.id).to_str(), Ok(*id));
            let features = (0..).map(|i| *descriptor.features.add(i));
            assert_eq!(features.take_while(|feature| !feature.is_null()).count(), 3);
        }
        let unknown = CString::new("unknown").unwrap();
        assert!(support::entry().get_factory.unwrap()(unknown.as_ptr()).is_null());
    }
    for channels in [1, 2] {
        let instance = Instance::new(channels);
        let ports = instance.extension::<clap_plugin_audio_ports>(CLAP_EXT_AUDIO_PORTS);
        let mut info = MaybeUninit::<clap_audio_port_info>::zeroed();
        // SAFETY: room for the answer, which is plain data.
        unsafe {
            assert_eq!(ports.count.unwrap()(instance.plugin, true), 1);
            assert!(ports.get.unwrap()(
                instance.plugin,
                0,
                false,
                info.as_mut_ptr()
            ));
            assert!(!ports.get.unwrap()(
                instance.plugin,
                1,
                false,
                info.as_mut_ptr()
            ));
            assert_eq!(info.assume_init().channel_count as usize, channels);
        }
    }
}

#[test]
fn without_a_model_the_input_is_heard() {
    let mut instance = Instance::new(2);
    instance.activate(RATE);
    assert_eq!(instance.latency(), 0);
    let input = sines(2, 20000);
    assert_same(&instance.play(&input, &SIZES, &[]), &input, "as it is");
}

#[test]
fn a_model_plays_as_it_runs_whole_late_by_the_latency() {
    for channels in [1, 2] {
        let made = |(name, config)| (name, model(name, config, None));
        let amp = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/models/amp");
        let mut models: Vec<(&str, PathBuf)> = [
            ("half", HALF),
            ("quarter", QUARTER),
            ("ahead", AHEAD),
            ("later", LATER),
        ]
        .map(made)
        .to_vec();
        models.push(("amp", amp));
        for (name, path) in models {
            let mut instance = Instance::new(channels);
            instance.load_and_wait(&path);
            instance.activate(RATE);
            let input = sines(channels, 30000);
            let output = instance.play(&input, &SIZES, &[]);
            let (expected, latency) = piped(&path, &input, RATE);
            assert_same(&output, &expected, name);
            assert_eq!(instance.latency(), latency, "{}", name);
            assert_eq!(latency > 0, ["quarter", "ahead"].contains(&name));
            for (output, whole) in output.iter().zip(whole(&path, &input)) {
                assert!(output[..latency].iter().all(|&sample| sample == 0.0));
                assert_near(&output[latency..], &whole, 1e-6, name);
            }
            instance.reset();
            assert_same(
                &instance.play(&input, &SIZES, &[]),
                &expected,
                "after reset",
            );
        }
    }
}

/// The output that the command `sl run` writes for one channel.
fn run_by_sl(path: &Path, input: &[f32]) -> Vec<f32> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (from, to) = (folder.join("input.npy"), folder.join("output.npy"));
    let mut header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}",
        input.len()
    );
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    input
        .iter()
        .for_each(|sample| bytes.extend(sample.to_le_bytes()));
    std::fs::write(&from, bytes).unwrap();

    let sl = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../build/release/sl");
    let run = Command::new(sl)
        .args(["run", "--stream", "--input", "scalar", "--output"])
        .args([&to, path, &from])
        .output()
        .expect("build/release/sl");
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let bytes = std::fs::read(&to).unwrap();
    let start = 10 + usize::from(u16::from_le_bytes(bytes[8..10].try_into().unwrap()));
    let samples = bytes[start..].chunks_exact(4);
    samples
        .map(|sample| f32::from_le_bytes(sample.try_into().unwrap()))
        .collect()
}

#[test]
fn a_model_plays_sample_for_sample_what_sl_run_writes() {
    let path = quarter();
    let mut instance = Instance::new(1);
    instance.load_and_wait(&path);
    instance.activate(RATE);
    let input = sines(1, 30000);
    let output = instance.play(&input, &SIZES, &[]);
    let latency = instance.latency();
    let expected = run_by_sl(&path, &input[0]);
    assert!(latency > 0 && expected.len() >= input[0].len());
    let len = input[0].len() - latency;
    assert_near(&output[0][latency..], &expected[..len], 0.0, "sl run");
}

#[test]
fn a_model_of_another_rate_plays_as_its_pipe() {
    let path = model("half_16k", HALF, Some(16000));
    let mut instance = Instance::new(2);
    instance.load_and_wait(&path);
    instance.activate(RATE);
    let input = sines(2, 30000);
    let output = instance.play(&input, &SIZES, &[]);
    let (expected, latency) = piped(&path, &input, RATE);
    assert!(latency > 0);
    assert_eq!(instance.latency(), latency);
    assert_same(&output, &expected, "converted");
    let halved: Vec<f32> = input[0].iter().map(|sample| 0.5 * sample).collect();
    assert_near(
        &output[0][latency + 1000..],
        &halved[1000..],
        1e-3,
        "converted twice",
    );
}

#[test]
fn models_are_exchanged_without_a_click_or_the_heap() {
    let input = sines(2, 200_000);
    let part = |begin: usize, end: usize| -> Vec<Vec<f32>> {
        input
            .iter()
            .map(|channel| channel[begin..end].to_vec())
            .collect()
    };
    let mut instance = Instance::new(2);
    instance.activate(RATE);
    let mut output = instance.play(&part(0, 20000), &SIZES, &[]);
    let mut begin = 20000;
    let mut restarts = 0;
    for path in [half(), ahead(), half()] {
        instance.load_and_wait(&path);
        let latency = instance.latency();
        for end in [begin + 20000, begin + 40000] {
            let played = instance.play(&part(begin, end), &SIZES, &[]);
            for (output, played) in output.iter_mut().zip(played) {
                output.extend(played);
            }
            instance.idle();
            begin = end;
        }
        let expected = whole(&path, &input);
        let latency_now = instance.latency();
        let delayed = &expected[0][begin - 10000 - latency_now..begin - latency_now];
        assert_near(
            &output[0][begin - 10000..begin],
            delayed,
            1e-6,
            "after the fade",
        );
        if latency != latency_now {
            restarts += 1;
        }
        assert_eq!(instance.requests.restarts.load(Ordering::SeqCst), restarts);
    }
    assert_eq!(restarts, 2);
    for (channel, output) in output.iter().enumerate() {
        let limit = 1.5 * roughness(&input[channel]);
        assert!(roughness(output) < limit, "{} {}", roughness(output), limit);
    }
}

#[test]
fn a_restart_takes_up_the_new_latency() {
    let mut instance = Instance::new(1);
    instance.activate(RATE);
    let input = sines(1, 10000);
    instance.load_and_wait(&quarter());
    instance.play(&input, &SIZES, &[]);
    instance.idle();
    assert_eq!(instance.requests.restarts.load(Ordering::SeqCst), 1);
    let latency = instance.latency();
    instance.deactivate();
    instance.activate(RATE);
    assert_eq!(instance.latency(), latency);
    assert_same(
        &instance.play(&input, &SIZES, &[]),
        &piped(&quarter(), &input, RATE).0,
        "restarted",
    );
    assert_eq!(instance.requests.latency_changes.load(Ordering::SeqCst), 0);
    // At another rate it takes other frames: the host is told while it activates.
    let path = model("half_16k", HALF, Some(16000));
    instance.deactivate();
    instance.load_and_wait(&path);
    instance.activate(44100.0);
    assert_eq!(instance.requests.latency_changes.load(Ordering::SeqCst), 1);
    assert_eq!(instance.latency(), piped(&path, &input, 44100.0).1);
}

#[test]
fn the_environment_names_the_model_of_a_new_instance() {
    let mut instance = Instance::with_model(1, Some(&half()));
    instance.wait_for("the model", |requests| {
        requests.processes.load(Ordering::SeqCst) > 0
    });
    instance.activate(RATE);
    let input = sines(1, 5000);
    assert_same(
        &instance.play(&input, &SIZES, &[]),
        &whole(&half(), &input),
        "half",
    );
}

#[test]
fn projects_keep_the_model_and_the_parameter() {
    let original = Instance::new(1);
    original.load_and_wait(&half());
    assert_eq!(original.requests.dirty.load(Ordering::SeqCst), 1);
    flush(&original, 0.25);
    let saved = original.save();
    drop(original);

    let mut restored = Instance::new(1);
    assert!(restored.restore(&saved));
    restored.wait_for("the model", |requests| {
        requests.processes.load(Ordering::SeqCst) > 0
    });
    assert_eq!(value(&restored), 0.25);
    assert_eq!(restored.save(), saved);
    restored.activate(RATE);
    let input = sines(1, 5000);
    let output = restored.play(&input, &SIZES, &[]);
    let expected: Vec<f32> = input[0].iter().map(|x| 0.75 * x + 0.25 * 0.5 * x).collect();
    assert_near(&output[0], &expected, 1e-6, "a quarter of the model");

    for end in 0..saved.len() {
        assert!(!restored.restore(&saved[..end]), "{} bytes", end);
    }
    let mut other_version = saved.clone();
    other_version[4] += 1;
    assert!(!restored.restore(&other_version));
    let mut longer = saved.clone();
    longer.push(b'x');
    assert!(!restored.restore(&longer));
    assert!(!restored.restore(&vec![0; 1 << 20]));
    assert_eq!(restored.save(), saved);

    // A project without a model ends the present one.
    let empty = Instance::new(1).save();
    assert!(restored.restore(&empty));
    restored.wait_for("no model", |requests| {
        requests.processes.load(Ordering::SeqCst) > 1
    });
    restored.play(&input, &SIZES, &[]);
    restored.idle();
    assert_same(&restored.play(&input, &SIZES, &[]), &input, "no model");
}

fn params(instance: &Instance) -> &clap_plugin_params {
    instance.extension(CLAP_EXT_PARAMS)
}

fn value(instance: &Instance) -> f64 {
    let mut out = 0.0;
    // SAFETY: on the main thread.
    assert!(unsafe { params(instance).get_value.unwrap()(instance.plugin, 1, &mut out) });
    out
}

fn flush(instance: &Instance, wet: f64) {
    instance.flush(&[Set { frame: 0, wet }]);
}

#[test]
fn the_parameter_is_described() {
    let instance = Instance::new(1);
    let params = params(&instance);
    let mut info = MaybeUninit::<clap_param_info>::zeroed();
    // SAFETY: room for each answer.
    unsafe {
        assert_eq!(params.count.unwrap()(instance.plugin), 1);
        assert!(params.get_info.unwrap()(
            instance.plugin,
            0,
            info.as_mut_ptr()
        ));
        assert!(!params.get_info.unwrap()(
            instance.plugin,
            1,
            info.as_mut_ptr()
        ));
        let info = info.assume_init();
        assert_eq!(
            (info.min_value, info.max_value, info.default_value),
            (0.0, 1.0, 1.0)
        );
        assert_eq!(CStr::from_ptr(info.name.as_ptr()).to_str(), Ok("Dry/wet"));

        let mut text = [0; 16];
        let to_text = params.value_to_text.unwrap();
        assert!(to_text(instance.plugin, 1, 0.255, text.as_mut_ptr(), 16));
        assert_eq!(CStr::from_ptr(text.as_ptr()).to_str(), Ok("25.5 %"));
        assert!(to_text(instance.plugin, 1, 0.255, text.as_mut_ptr(), 3));
        assert_eq!(CStr::from_ptr(text.as_ptr()).to_str(), Ok("25"));
        assert!(!to_text(instance.plugin, 2, 0.255, text.as_mut_ptr(), 16));

        let mut out = 0.0;
        let to_value = params.text_to_value.unwrap();
        for (text, expected) in [("25.5 %", Some(0.255)), ("250", Some(1.0)), ("much", None)] {
            let text = CString::new(text).unwrap();
            let found = to_value(instance.plugin, 1, text.as_ptr(), &mut out);
            assert_eq!(found.then_some(out), expected);
        }
    }
    for (given, kept) in [(0.5, 0.5), (7.0, 1.0), (-1.0, 0.0), (f64::NAN, 0.0)] {
        flush(&instance, given);
        assert_eq!(value(&instance), kept);
    }
}

#[test]
fn events_take_effect_at_their_frame() {
    let mut instance = Instance::new(1);
    instance.load_and_wait(&half());
    instance.activate(RATE);
    let input = sines(1, 20000);
    let sets = [
        Set {
            frame: 4000,
            wet: 0.0,
        },
        Set {
            frame: 12000,
            wet: 1.0,
        },
    ];
    let output = &instance.play(&input, &SIZES, &sets)[0];
    let ramp = (0.02 * RATE) as usize + 1;
    let half: Vec<f32> = input[0].iter().map(|sample| 0.5 * sample).collect();
    assert_eq!(output[..4000], half[..4000]);
    assert_ne!(output[4001..4010], half[4001..4010]);
    assert_eq!(output[4000 + ramp..12000], input[0][4000 + ramp..12000]);
    assert_near(
        &output[12000 + ramp..],
        &half[12000 + ramp..],
        1e-7,
        "wet again",
    );
    assert!(roughness(output) < 1.2 * roughness(&input[0]));
    assert_eq!(value(&instance), 1.0);
}

#[test]
fn a_model_that_does_not_open_leaves_the_old_one() {
    let mut instance = Instance::new(1);
    instance.load_and_wait(&half());
    instance.activate(RATE);
    assert!(!instance.load(Path::new("/no/such/model")));
    let broken = model("broken", r#"{"type": "Scael"}"#, None);
    assert!(instance.load(&broken));
    let has_log = |text: &str| {
        instance.wait_for("a message", |requests| {
            let log = requests.log.lock().unwrap();
            log.iter().any(|message| message.contains(text))
        });
    };
    has_log("did you mean \"Scale\"?");
    // Twice as many samples come out as go in, which no pipe can play.
    let config = r#"{"type": "Upsample1D", "rate": 2}"#;
    assert!(instance.load(&model("upsample", config, None)));
    has_log("upsample");
    let input = sines(1, 5000);
    assert_same(
        &instance.play(&input, &SIZES, &[]),
        &whole(&half(), &input),
        "half",
    );
}

#[test]
fn the_last_of_many_models_is_played() {
    let mut instance = Instance::new(1);
    instance.activate(RATE);
    for _ in 0..20 {
        assert!(instance.load(&quarter()));
        assert!(instance.load(&half()));
    }
    let input = sines(1, 20000);
    let expected = whole(&half(), &input);
    let start = Instant::now();
    while instance.play(&input, &SIZES, &[]) != expected {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "another model plays"
        );
        instance.idle();
    }
    // It stays: none of the others comes later.
    std::thread::sleep(Duration::from_millis(100));
    assert_same(
        &instance.play(&input, &SIZES, &[]),
        &expected,
        "the last model",
    );
    // And one that is destroyed while its worker is at work.
    let instance = Instance::new(1);
    instance.load(&quarter());
    drop(instance);
}

#[test]
fn models_are_loaded_while_another_thread_plays() {
    struct Audio<'a>(&'a Instance);
    // SAFETY: the audio thread calls `process` alone, which the main thread does not.
    unsafe impl Send for Audio<'_> {}
    impl Audio<'_> {
        fn play(self, input: &[Vec<f32>]) -> Vec<f32> {
            self.0.play(input, &[64, 128, 64, 480], &[]).remove(0)
        }
    }

    let mut instance = Instance::new(1);
    instance.activate(RATE);
    let input = sines(1, 400_000);
    let audio = Audio(&instance);
    let output = std::thread::scope(|scope| {
        let audio = scope.spawn(|| audio.play(&input));
        let mut loads = 0;
        while !audio.is_finished() {
            let path = if loads % 2 == 0 { ahead() } else { half() };
            assert!(instance.load(&path));
            loads += 1;
            for _ in 0..5 {
                instance.idle();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        audio.join().unwrap()
    });
    assert!(instance.requests.restarts.load(Ordering::SeqCst) > 0);
    let limit = 1.5 * roughness(&input[0]);
    assert!(
        roughness(&output) < limit,
        "{} {}",
        roughness(&output),
        limit
    );
}

#[test]
fn the_watch_sees_the_heap_and_locks() {
    let (bytes, calls) = support::watch::watched(|| vec![7u8; 100]);
    // SAFETY: a valid reference, read so that the allocation is not left out.
    assert_eq!(unsafe { std::ptr::read_volatile(&bytes[99]) }, 7);
    assert_eq!(calls, 1);
    // So do those of the plugin, which makes a string here.
    let instance = Instance::new(1);
    let to_text = params(&instance).value_to_text.unwrap();
    let mut text = [0; 16];
    // SAFETY: room for the answer.
    let make = || unsafe { to_text(instance.plugin, 1, 0.5, text.as_mut_ptr(), 16) };
    let (is_made, calls) = support::watch::watched(make);
    assert!(is_made && calls >= 2, "{} calls", calls);
}

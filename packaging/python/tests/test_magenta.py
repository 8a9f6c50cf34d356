"""Tests of the conversion and decoding of Magenta RealTime 2 on a small model of its structure, if
the package and the reference are installed (packaging/setup.sh --magenta)."""

import functools
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import wave

import numpy as np

_PACKAGE = pathlib.Path(__file__).parents[3] / '.deps' / 'magenta'
_FRAMES = 30
_GUIDANCE = (1.7, -0.4)


def _is_installed() -> bool:
    if not importlib.util.find_spec('jax'):
        return False
    if _PACKAGE.is_dir() and str(_PACKAGE) not in sys.path:
        sys.path.append(str(_PACKAGE))
    return importlib.util.find_spec('magenta_rt') is not None


@functools.cache
def _model():
    """The parts of the small model and its variables."""
    from sequence_layers_tools import convert_magenta, magenta_models, magenta_parts

    magenta = magenta_models.find('tiny', 'float32')
    parts = magenta_parts.all_parts(magenta)
    return magenta, {part.name: part for part in parts}, convert_magenta.random_variables(parts)


@unittest.skipUnless(_is_installed(), 'the package magenta_rt is not installed')
class MagentaTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_parts_equal_the_package(self):
        from sequence_layers_tools import convert_magenta

        _, parts, variables = _model()
        for part in parts.values():
            with self.subTest(part.name):
                report = convert_magenta.write(self.folder, part, variables, frames=5)
                self.assertLessEqual(report.layer_wise, report.tolerance)
                written = self.folder / part.name / 'model.safetensors'
                self.assertTrue(written.is_file())
                if part.name == 'codec_encoder':
                    # Two streams of five frames, of six codes each.
                    self.assertIn('of 60 codes 0.000 % differ', str(report))
                else:
                    self.assertIn('largest difference from the reference', str(report))

    def test_a_wrong_weight_is_noticed(self):
        from sequence_layers_tools import check_converted, convert_magenta

        _, parts, variables = _model()
        name = 'params.depthformer.encoder.body.encoder_ln.scale'
        wrong = {**variables, name: variables[name] * 1.01}
        written = self.folder / 'conditioning'
        convert_magenta.write(self.folder, parts['conditioning'], wrong, verify=False)
        with self.assertRaisesRegex(check_converted.CheckError, 'conditioning'):
            convert_magenta.compare(written, parts['conditioning'], variables)

    def test_checkpoints_of_the_package_are_read(self):
        from safetensors.numpy import save_file

        from sequence_layers_tools import convert_magenta

        _, _, variables = _model()
        file = self.folder / 'checkpoints' / 'tiny.safetensors'
        file.parent.mkdir()
        save_file({k.replace('.', '/'): v for k, v in variables.items()}, file)
        for path in (file, file.parent, self.folder):
            read = convert_magenta.read_checkpoint(path, 'tiny')
            self.assertEqual(read.keys(), variables.keys())
            for name, value in variables.items():
                np.testing.assert_array_equal(read[name], value)
        with self.assertRaisesRegex(convert_magenta.ConvertError, 'no checkpoint'):
            convert_magenta.read_checkpoint(self.folder, 'mrt2_small')

    def test_a_part_is_packed(self):
        import sequence_layers_runtime as runtime
        from sequence_layers_tools import convert_magenta

        _, parts, variables = _model()
        convert_magenta.write(self.folder, parts['decoder'], variables, verify=False)
        written = self.folder / 'decoder' / 'model.safetensors'
        before = written.stat().st_size
        convert_magenta.pack(self.folder / 'decoder', 'int8')
        self.assertLess(written.stat().st_size, before)
        with runtime.Layer.open(self.folder / 'decoder') as decoder:
            self.assertIn('int8', decoder.metadata('packed'))

    def test_random_variables_depend_on_their_names_only(self):
        from sequence_layers_tools import convert_magenta

        _, parts, variables = _model()
        alone = convert_magenta.random_variables([parts['decoder']])
        self.assertLess(len(alone), len(variables))
        for name, value in alone.items():
            np.testing.assert_array_equal(value, variables[name])

    def test_frames_equal_the_package(self):
        from sequence_layers_tools import compare_magenta, convert_magenta, magenta_sampler

        magenta, parts, variables = _model()
        for part in ('conditioning', 'decoder'):
            convert_magenta.write(self.folder, parts[part], variables, verify=False)
        for guidance, context in (((), 0), (_GUIDANCE, 11)):
            with self.subTest(guidance=guidance, context=context):
                sampler = magenta_sampler.Sampler(magenta, variables, guidance)
                frames = compare_magenta.package_frames(magenta, sampler, _FRAMES, context)
                kept = self.folder / 'frames.npz'
                frames.save(kept)
                decoding = compare_magenta.Decoding(self.folder, frames.load(kept))
                report = compare_magenta.compare(decoding)
                self.assertEqual((report.frames, report.equal, report.first), (30, 30, None))
                self.assertEqual(report.likely, 1)
                self.assertLess(report.logits, 1e-5)
                for found in report.divergences.values():
                    self.assertLess(found.common.max(), compare_magenta.MAX_DIVERGENCE)
                    self.assertEqual((found.unequal, found.tokens), (0, 120))
                self.assertTrue(report.agrees())
                # Other tokens must be noticed.
                frames.tokens[-1, -1] += 1
                wrong = compare_magenta.compare(compare_magenta.Decoding(self.folder, frames))
                self.assertEqual(wrong.equal, 29)
                self.assertFalse(wrong.agrees())
                self.assertEqual(wrong.first[0], 29)

    def test_probabilities_are_those_of_the_package(self):
        import jax
        import jax.numpy as jnp
        from sequence_layers import jax as sl

        from sequence_layers_tools import compare_magenta, magenta_package

        logits = np.array([0.0, 1.5, 0.3, 1.5, -1.0, 0.3, -2.0, 0.9], np.float32)
        draw = magenta_package.depthformer._sample_categorical_with_temperature
        count = 20000
        for sampling in (
            compare_magenta.Sampling(1.3, top_k=5),
            compare_magenta.Sampling(0.7, top_p=0.75),
            compare_magenta.Sampling(2.0, top_p=0.4),
            compare_magenta.Sampling(1.0),
        ):

            def one(key, sampling=sampling):
                return draw(
                    sl.Sequence.from_values(jnp.asarray(logits)[jnp.newaxis, jnp.newaxis]),
                    temperature=sampling.temperature,
                    top_k=sampling.top_k,
                    top_p=sampling.top_p,
                    rng_key=key[jnp.newaxis],
                    classifier_free_guidance_scale=None,
                    classifier_free_guidance_arity=0,
                    valid_range=(0, 7),
                ).values[0, 0]

            keys = jax.random.split(jax.random.PRNGKey(5), count)
            drawn = np.asarray(jax.jit(jax.vmap(one))(keys))
            shares = np.bincount(drawn, minlength=8)[:7] / count
            with self.subTest(sampling):
                kept, _ = compare_magenta.kept_choices(logits[:7], sampling)
                want = compare_magenta.probabilities(logits[:7], kept, sampling)
                np.testing.assert_array_equal(shares > 0, want > 0)
                np.testing.assert_allclose(shares, want, atol=5 * np.sqrt(0.25 / count))

    def test_other_weights_are_refused_before_a_comparison(self):
        from sequence_layers_tools import compare_magenta, convert_magenta
        from sequence_layers_tools.convert import ConvertError

        _, parts, variables = _model()
        decoder = parts['decoder']
        written = self.folder / 'decoder'
        convert_magenta.write(self.folder, decoder, variables, verify=False)
        convert_magenta.pack(written, 'int8')
        compare_magenta.check_weights(written, decoder.weights(variables))
        other = convert_magenta.random_variables([decoder], seed=1)
        with self.assertRaisesRegex(ConvertError, 'decoder has other weights.*--seed'):
            compare_magenta.check_weights(written, decoder.weights(other))

    def test_divergences_tell_choices_that_rounding_decides(self):
        from sequence_layers_tools import compare_magenta

        weights = np.array([[[0.4, 0.3, 0.2, 0.1]], [[0.4, 0.3, 0.2, 0.1]]])
        logits = np.log(weights)
        swapped = logits.copy()
        swapped[0, 0, 1:3] = np.log(0.25) + np.array([-1e-6, 1e-6])
        found = compare_magenta.divergence(logits, swapped, compare_magenta.Sampling(1.0, top_k=2))
        # The first token: 4/7, 3/7, 0 to the package; 0.4, 0, 0.25 of 0.65 to the other.
        self.assertEqual((found.tokens, found.unequal, found.infinite), (2, 1, 1))
        p, q = np.array([4, 3, 2]) / 9, np.array([0.4, 0.25, 0.25]) / 0.9
        np.testing.assert_allclose(found.common, [(p * np.log(p / q)).sum() / 2], rtol=1e-4)
        np.testing.assert_allclose(found.drawn, [0], atol=1e-12)
        self.assertAlmostEqual(found.mass, 3 / 7 + 0.25 / 0.65, 5)
        distance = (abs(4 / 7 - 0.4 / 0.65) + 3 / 7 + 0.25 / 0.65) / 2
        self.assertAlmostEqual(found.distance, distance / 2, 5)
        self.assertAlmostEqual(found.margin, np.log(3 / 2), 5)
        self.assertIn('infinite for 1 tokens', str(found))
        # One more choice than the package keeps costs its probability.
        more = compare_magenta.divergence(
            logits[1:],
            np.log(weights[1:] - [1e-9, -1e-9, 0, 0]),
            compare_magenta.Sampling(1, top_p=0.7 - 5e-10),
        )
        self.assertEqual((more.unequal, more.infinite), (0, 0))
        more = compare_magenta.divergence(
            logits[1:],
            np.log(weights[1:] - [1e-9, 0, -1e-9, 0]),
            compare_magenta.Sampling(1, top_p=0.7 - 5e-10),
        )
        self.assertEqual((more.unequal, more.infinite), (1, 0))
        np.testing.assert_allclose(more.common, [0], atol=1e-12)
        np.testing.assert_allclose(more.drawn, [np.log(0.9 / 0.7)], rtol=1e-6)
        self.assertLess(more.margin, 1e-9)

    def test_what_is_timed_plays_what_the_models_make(self):
        from sequence_layers_benches import magenta_jax
        from sequence_layers_tools import convert_magenta

        magenta, parts, variables = _model()
        for part in ('conditioning', 'decoder', 'codec_decoder'):
            convert_magenta.write(self.folder, parts[part], variables, verify=False)
        x = parts['conditioning'].sample(np.random.default_rng(5), 1, 8)
        system = magenta_jax.System(magenta, variables, temperature=0)
        got = np.concatenate([system.step(frame) for frame in x[0]])
        want = _sound(self.folder, magenta, x)
        self.assertGreater(np.abs(want).max(), 0.01)
        np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())

    def test_the_live_program_plays_what_the_models_make(self):
        from sequence_layers_tools import convert_magenta

        magenta, parts, variables = _model()
        played = ('conditioning', 'decoder', 'codec_decoder')
        for part in played:
            convert_magenta.write(self.folder, parts[part], variables, verify=False)
        score, out = self.folder / 'score', self.folder / 'out.wav'
        score.write_text('0 style 3 1\n0.004 note_on 60\n')
        library = pathlib.Path(os.environ['SEQUENCE_LAYERS_LIBRARY'])
        frames, rate = 12, magenta.codec.audio_sample_rate
        samples = magenta.codec.waveform_to_codes_ratio
        command = [library.parent / 'magenta_live', self.folder, '--score', score, '--wav', out]
        seconds = str(frames * samples / rate)
        report = subprocess.run(
            [*command, '--temperature', '0', '--gain', '1', '--seconds', seconds],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        self.assertIn(f'{frames} frames of', report)
        with wave.open(str(out)) as file:
            self.assertEqual(file.getframerate(), rate)
            sound = np.frombuffer(file.readframes(file.getnframes()), '<i2').reshape(-1, 2)
        x = np.full((1, frames, 144), 6, np.int32)
        x[..., :2], x[..., -3:] = (10, 8), (27, 17, 9)
        begins = int(np.ceil(0.004 * rate / samples))
        x[:, begins:, 12:140] = 7
        x[:, begins:, 12 + 60] = 8
        x[:, begins, 12 + 60] = 9
        want = np.clip(_sound(self.folder, magenta, x), -1, 1)
        np.testing.assert_allclose(sound / 32767, want, atol=1e-4)


def _sound(folder: pathlib.Path, magenta, x: np.ndarray) -> np.ndarray:
    """The sound of greedy frames for tokens of the conditioning, [samples, channels]."""
    import sequence_layers_runtime as runtime

    size = magenta.depthformer.decoder.codebook_size
    with (
        runtime.Layer.open(folder / 'conditioning') as conditioning,
        runtime.Layer.open(folder / 'decoder') as decoder,
        runtime.Layer.open(folder / 'codec_decoder') as codec,
    ):
        source, _ = conditioning.apply(x)
        name = magenta.depthformer.conditioning_name
        stream = decoder.new_decoder(constants={name: source[:, :1]})
        state = codec.new_state()
        made = []
        for t in range(x.shape[1]):
            now = {name: np.ascontiguousarray(source[:, t : t + 1])}
            tokens, _, _ = stream.sample(constants=now)
            made.append(state.step((tokens[:, np.newaxis] - 6) % size)[0][0])
    return np.concatenate(made)


if __name__ == '__main__':
    unittest.main()

"""Tests of the conversion and decoding of Magenta RealTime 2 on a small model of its structure, if
the package and the reference are installed (packaging/setup.sh --magenta)."""

import functools
import importlib.util
import pathlib
import sys
import tempfile
import unittest

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


def _package_frames(magenta, variables, conditioning, guidance):
    """The package's greedy frames for conditioning tokens [1 + negatives, time, channels]."""
    import jax
    import jax.numpy as jnp
    from sequence_layers import jax as sl

    from sequence_layers_tools import convert, magenta_parts

    module = magenta.depthformer.make()
    own = convert.unflatten(magenta_parts.within(variables, 'params.depthformer'))
    rngs = {'random': jax.random.PRNGKey(0)}
    prefix = 'classifier_free_guidance'
    scales = {f'{prefix}_scale_{i}': jnp.array([s]) for i, s in enumerate(guidance)}

    def start(model):
        spec = jax.ShapeDtypeStruct(conditioning.shape[2:], jnp.int32)
        return model.sampler.get_initial_state(1, spec, training=False, constants=dict(scales))

    @jax.jit
    def step(x, state):
        constants = {'temperature': jnp.zeros(1), 'top_k': jnp.array([16], jnp.int32), **scales}
        for i in range(len(guidance)):
            negative = sl.Sequence.from_values(x[1 + i : 2 + i])
            constants[f'{prefix}_negative_{i}'] = negative

        def run(model):
            first = sl.Sequence.from_values(x[:1])
            return model.sampler.step(first, state, training=False, constants=constants)

        return module.apply(own, method=run, rngs=rngs)

    frames = []
    with jax.default_matmul_precision('highest'):
        state = module.apply(own, method=start, rngs=rngs)
        for t in range(conditioning.shape[1]):
            y, state = step(jnp.asarray(conditioning[:, t : t + 1]), state)
            frames.append(np.asarray(y.values)[0, 0])
    return np.stack(frames)


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
                report = convert_magenta.write(self.folder, part, variables)
                self.assertLessEqual(report.layer_wise, report.tolerance)
                written = self.folder / part.name / 'model.safetensors'
                self.assertTrue(written.is_file())

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

    def test_greedy_frames_equal_the_package(self):
        import sequence_layers_runtime as runtime
        from sequence_layers_tools import convert_magenta

        magenta, parts, variables = _model()
        for part in ('conditioning', 'decoder'):
            convert_magenta.write(self.folder, parts[part], variables, verify=False)
        name, rng = magenta.depthformer.conditioning_name, np.random.default_rng(3)
        for guidance in ((), _GUIDANCE):
            x = parts['conditioning'].sample(rng, 1 + len(guidance), _FRAMES)
            want = _package_frames(magenta, variables, x, guidance)
            with (
                runtime.Layer.open(self.folder / 'conditioning') as conditioning,
                runtime.Layer.open(self.folder / 'decoder') as decoder,
            ):
                source, _ = conditioning.apply(x)
                for context in (0, 11):
                    with self.subTest(guidance=guidance, context=context):
                        given = {name: source[:, :1]}
                        stream = decoder.new_decoder(guidance=guidance, constants=given)
                        if context:
                            before = {name: np.ascontiguousarray(source[:, :context])}
                            stream.prefill(want[None, :context], constants=before)
                        for t in range(context, _FRAMES):
                            now = {name: np.ascontiguousarray(source[:, t : t + 1])}
                            tokens, _, _ = stream.sample(constants=now)
                            np.testing.assert_array_equal(tokens[0], want[t], f'frame {t}')


if __name__ == '__main__':
    unittest.main()

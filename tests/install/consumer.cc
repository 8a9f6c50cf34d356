// Streams through a layer by the C++ wrapper, as a user's program would.
#include <cstdio>
#include <sequence_layers/sequence_layers.hpp>

int main() {
  namespace sl = sequence_layers;
  const sl::Layer layer(R"({"type": "Scale", "scale": 2.0})", sl::Weights());
  const sl_channel_spec spec = sl::channel_spec({});
  sl::State state(layer, spec);
  float in = 3, out = 0;
  sl_sequence y = sl::sequence(spec, 1, 1, &out);
  if (state.step(sl::sequence(spec, 1, 1, &in), &y) != SL_STATUS_OK || out != 6) return 1;
  try {
    sl::Layer(R"({"type": "Scal"})", sl::Weights());
  } catch (const sl::Error& error) {
    std::printf("%s\n", error.what());
    return error.status() == SL_STATUS_CONFIG ? 0 : 1;
  }
  return 1;
}

// RTNeural's templates, which need sizes when they are compiled: LAYER is LSTM or GRU, UNITS its
// width; or TCN.
#include <RTNeural/RTNeural.h>

#include <chrono>
#include <cstdint>
#include <vector>

#ifdef TCN
template <int dilation>
struct Block {
  RTNeural::Conv1DT<float, UNITS, UNITS, TAPS, dilation> conv;
#if RTNEURAL_USE_EIGEN
  alignas(64) Eigen::Matrix<float, UNITS, 1> y;
  template <class In>
  void forward(const In& x) {
    conv.forward(x);
    y = x + conv.outs.cwiseMax(0.f);
  }
#else
#error "the TCN is written for the Eigen backend"
#endif
};

struct Net {
  std::tuple<Block<1>, Block<2>, Block<4>, Block<8>, Block<16>, Block<32>, Block<64>, Block<128>>
      blocks;

  Net() {
    std::apply([](auto&... b) { (b.conv.reset(), ...); }, blocks);
  }
  // kernels [layer][out][in][tap], biases [layer][out]
  void load(const float* kernels, const float* biases) {
    std::apply(
        [&](auto&... b) {
          int layer = 0;
          (
              [&](auto& block) {
                std::vector<std::vector<std::vector<float>>> w(
                    UNITS, std::vector<std::vector<float>>(UNITS, std::vector<float>(TAPS)));
                const float* k = kernels + layer * UNITS * UNITS * TAPS;
                for (int o = 0; o < UNITS; ++o)
                  for (int i = 0; i < UNITS; ++i)
                    for (int t = 0; t < TAPS; ++t) w[o][i][t] = k[(o * UNITS + i) * TAPS + t];
                block.conv.setWeights(w);
                block.conv.setBias(
                    std::vector<float>(biases + layer * UNITS, biases + (layer + 1) * UNITS));
                ++layer;
              }(b),
              ...);
        },
        blocks);
  }
  void reset() {
    std::apply([](auto&... b) { (b.conv.reset(), ...); }, blocks);
  }
  const float* step(const float* frame) {
    alignas(64) Eigen::Matrix<float, UNITS, 1> x =
        Eigen::Map<const Eigen::Matrix<float, UNITS, 1>>(frame);
    return forward<0>(x);
  }
  template <int i, class In>
  const float* forward(const In& x) {
    auto& block = std::get<i>(blocks);
    block.forward(x);
    if constexpr (i + 1 < 8)
      return forward<i + 1>(block.y);
    else
      return block.y.data();
  }
};
#else
struct Net {
  RTNeural::ModelT<float, UNITS, UNITS, LAYER<float, UNITS, UNITS>> model;

  static std::vector<std::vector<float>> matrix(const float* data, int columns, int count) {
    std::vector<std::vector<float>> rows;
    for (int i = 0; i < count; ++i) rows.emplace_back(data + i * columns, data + (i + 1) * columns);
    return rows;
  }
  // kernel, recurrent kernel [in][gates * UNITS]; bias [BIASES][gates * UNITS]
  void load(const float* kernels, const float* biases) {
    auto& layer = model.template get<0>();
    const int columns = GATES * UNITS;
    layer.setWVals(matrix(kernels, columns, UNITS));
    layer.setUVals(matrix(kernels + UNITS * columns, columns, UNITS));
#if GATES == 4
    layer.setBVals(std::vector<float>(biases, biases + columns));
#else
    layer.setBVals(matrix(biases, columns, 2));
#endif
    model.reset();
  }
  void reset() { model.reset(); }
  const float* step(const float* frame) {
    model.forward(frame);
    return model.getOutputs();
  }
};
#endif

extern "C" {
Net* net_make(const float* kernels, const float* biases) {
  auto* net = new Net;
  net->load(kernels, biases);
  return net;
}

void net_reset(Net* net) { net->reset(); }

// Steps over `count` blocks of `block` frames, which begin anew after `blocks` blocks, and copies
// each output.
double net_run(Net* net, const float* x, float* y, int64_t blocks, int64_t block, int64_t count) {
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0, at = 0; i < count; ++i) {
    const float* frames = x + at * block * UNITS;
    float* out = y + at * block * UNITS;
    for (int64_t t = 0; t < block; ++t) {
      const float* result = net->step(frames + t * UNITS);
      for (int c = 0; c < UNITS; ++c) out[t * UNITS + c] = result[c];
    }
    if (++at == blocks) at = 0;
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
}

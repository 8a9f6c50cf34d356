// LinearToMelSpectrogram: y = x F, where F are triangular filters over the bins of a magnitude
// spectrum, evenly spaced in mel (reference: dsp.LinearToMelSpectrogram).
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "kernels/bands.h"
#include "layers/builder.h"
#include "ops/elementwise.h"
#include "ops/per_size.h"

namespace sl {
namespace {

double to_mel(double hertz) { return 1127.0 * std::log(1.0 + hertz / 700.0); }

class LinearToMelSpectrogram final : public StatelessLayer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : bins(config.integer("num_mel_bins", 1)),
          sample_rate(config.number("sample_rate")),
          lower(config.number("lower_edge_hertz")),
          upper(config.number("upper_edge_hertz")) {
      constexpr int64_t kMax = int64_t{1} << 20;
      if (bins > kMax) config.error("num_mel_bins", fmt::format("expected at most {}", kMax));
      if (!(sample_rate > 0)) config.error("sample_rate", "expected more than 0");
      if (!(lower >= 0)) config.error("lower_edge_hertz", "expected at least 0");
      if (!(lower < upper)) {
        config.error("upper_edge_hertz",
                     fmt::format("expected more than lower_edge_hertz = {}", lower));
      }
      if (!(upper <= sample_rate / 2)) {
        config.error("upper_edge_hertz",
                     fmt::format("expected at most half of the sample_rate = {}", sample_rate / 2));
      }
    }
    int64_t bins;
    double sample_rate, lower, upper;
  };

  LinearToMelSpectrogram(Fields fields, const Init&) : fields_(fields) {}

  InPieces in_pieces() const override { return InPieces::kAnywhere; }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    if (input.shape.empty()) {
      fail(Code::kShape, "expected channels of shape [..., bins], got {}", to_string(input));
    }
    ChannelSpec out = input;
    out.shape.back() = fields_.bins;
    return out;
  }
  void do_declare(Declaration&, const SequenceSpec& input) const override {
    const int64_t inputs = input.channels.shape.back();
    if (is_inexact(input.channels.dtype)) {
      bands(inputs, input.channels.dtype);
    } else {
      links(inputs, input.channels.dtype);
    }
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    const Sequence y = run.output_like(x, do_output_spec(x.spec(), {}));
    if (!is_inexact(x.dtype)) {
      multiply_integers(x, y);
      return y;
    }
    const kernels::Bands& filters = bands(x.channels.back(), x.dtype);
    if (x.dtype == DType::kComplex64) {
      multiply_complex(run, filters, x, y);
      return y;
    }
    const bool direct = x.dtype == DType::kFloat32;
    float* out = direct ? y.floats() : run.scratch<float>(y.size());
    multiply(run, filters, ops::as_floats(run, x, DType::kFloat32), rows_of(y), out);
    if (!direct) ops::convert(out, DType::kFloat32, y.values, y.dtype, y.size());
    return y;
  }

  static int64_t rows_of(const Sequence& y) { return y.size() / y.channels.back(); }

  static void multiply(const Run& run, const kernels::Bands& filters, const float* x, int64_t rows,
                       float* y) {
    if (run.parallel().profile()) run.parallel().count(2 * rows * nonzero(filters));
    ops::for_steps(run, rows, filters.inputs + filters.outputs, [&](int64_t begin, int64_t end) {
      kernels::multiply_bands(x + begin * filters.inputs, filters, end - begin,
                              y + begin * filters.outputs);
    });
  }
  static int64_t nonzero(const kernels::Bands& filters) {
    return std::ranges::count_if(filters.weights, [](float weight) { return weight != 0; });
  }
  // Filters real and imaginary parts separately.
  static void multiply_complex(Run& run, const kernels::Bands& filters, const Sequence& x,
                               const Sequence& y) {
    auto* part = run.scratch<float>(x.size());
    auto* out = run.scratch<float>(y.size());
    for (int64_t i = 0; i < 2; ++i) {
      for (int64_t k = 0; k < x.size(); ++k) part[k] = x.floats()[2 * k + i];
      multiply(run, filters, part, rows_of(y), out);
      for (int64_t k = 0; k < y.size(); ++k) y.floats()[2 * k + i] = out[k];
    }
  }

  // The pairs (input, filter) whose weight is not 0 in an integer dtype. Conversion to integers
  // leaves only weights of 1, conversion to booleans all weights above 0.
  using Links = std::vector<std::pair<int64_t, int64_t>>;
  const Links& links(int64_t inputs, DType dtype) const {
    return links_.get(inputs * 8 + static_cast<int64_t>(dtype), [&] {
      const std::vector<double> weights = exact_filters(inputs);
      Links out;
      for (int64_t i = 0; i < inputs; ++i) {
        for (int64_t k = 0; k < fields_.bins; ++k) {
          const double weight = weights[static_cast<size_t>(i * fields_.bins + k)];
          if (dtype == DType::kBool ? weight > 0 : weight >= 1) out.emplace_back(i, k);
        }
      }
      return out;
    });
  }
  void multiply_integers(const Sequence& x, const Sequence& y) const {
    const int64_t inputs = x.channels.back();
    const Links& links = this->links(inputs, x.dtype);
    ops::with_element(x.dtype, [&](auto element) {
      using T = typename decltype(element)::Type;
      if constexpr (std::is_integral_v<T>) {
        std::fill_n(y.as<T>(), y.size(), T{0});
        for (int64_t row = 0; row < rows_of(y); ++row) {
          for (const auto& [i, k] : links) {
            T& sum = y.as<T>()[row * fields_.bins + k];
            const T value = x.as<const T>()[row * inputs + i];
            const uint32_t wrapped = static_cast<uint32_t>(sum) + static_cast<uint32_t>(value);
            sum = x.dtype == DType::kBool ? static_cast<T>(sum | value) : static_cast<T>(wrapped);
          }
        }
      }
    });
  }

  // The filters for a spectrum of `inputs` bins, rounded to the dtype and stored as bands.
  const kernels::Bands& bands(int64_t inputs, DType dtype) const {
    return bands_.get(inputs * 8 + static_cast<int64_t>(dtype), [&] {
      const std::vector<double> exact = exact_filters(inputs);
      std::vector<float> matrix(exact.begin(), exact.end());
      ops::round_to(dtype, matrix.data(), static_cast<int64_t>(matrix.size()));
      return kernels::make_bands(matrix.data(), inputs, fields_.bins);
    });
  }
  // The filters [inputs, bins]. Each rises from the previous edge to its peak and falls to the next
  // edge. The ratios are computed as in the reference, because the last bit can decide if a weight
  // is 0 or 1.
  std::vector<double> exact_filters(int64_t inputs) const {
    const double low = to_mel(fields_.lower), high = to_mel(fields_.upper);
    const double step = (high - low) / static_cast<double>(fields_.bins + 1);
    const auto edge = [&](int64_t k) {
      return k == fields_.bins + 1 ? high : low + static_cast<double>(k) * step;
    };
    const double bin_width = fields_.sample_rate / 2 / static_cast<double>(inputs - 1);
    const int64_t size = checked_product(inputs, fields_.bins);
    require_memory(checked_bytes(size, sizeof(double)), kDefaultMaxBytes);
    std::vector<double> out(static_cast<size_t>(size));
    // The first bin, which has frequency 0, is in no filter.
    for (int64_t i = 1; i < inputs; ++i) {
      const bool last = i == inputs - 1;
      const double mel =
          to_mel(last ? fields_.sample_rate / 2 : static_cast<double>(i) * bin_width);
      for (int64_t k = 0; k < fields_.bins; ++k) {
        const double rising = (mel - edge(k)) / (edge(k + 1) - edge(k));
        const double falling = (edge(k + 2) - mel) / (edge(k + 2) - edge(k + 1));
        out[static_cast<size_t>(i * fields_.bins + k)] = std::max(0.0, std::min(rising, falling));
      }
    }
    return out;
  }

  Fields fields_;
  ops::PerSize<kernels::Bands> bands_;
  ops::PerSize<Links> links_;
};

SL_REGISTER_LAYER(LinearToMelSpectrogram);

}  // namespace
}  // namespace sl

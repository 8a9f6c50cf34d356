// LocationSensitiveAttention: additive attention whose scores also depend on the weights of the
// previous step and on their sum over all steps (Chorowski et al. 2015; reference: tensorflow
// attention.LocationSensitiveAttention).
#include "layers/attention/additive_scores.h"
#include "layers/attention/location_attention.h"

namespace sl {
namespace {

// The number of features of a location: the weights of the previous step, and their sum over all
// steps.
constexpr int64_t kFeatures = 2;

class LocationSensitiveAttention final : public LocationAttention {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : source(read_source_name(config)),
          heads(config.integer("num_heads", 1)),
          units(config.integer("units_per_head", 1)),
          filters(config.integer("location_num_filters", 1)),
          filter_size(config.integer("location_filter_size", 1)),
          same(config.choice("location_filter_padding", {"same", "valid"}, 0) == 0) {}

    std::string source;
    int64_t heads, units, filters, filter_size;
    bool same;
  };

  LocationSensitiveAttention(Fields fields, const Init& init)
      : LocationAttention(fields.source, fields.heads, kFeatures),
        fields_(std::move(fields)),
        scores_(fields_.heads, fields_.units, init.weights),
        location_(read_location(init.weights)) {}

 private:
  Shape location_shape(int64_t batch, int64_t time) const override {
    return {batch, fields_.heads, time, kFeatures};
  }
  void declare_source(Declaration& declaration, const SequenceSpec& input) const override {
    declare_kept(declaration, input, scores_.width());
  }
  int64_t inputs() const override { return scores_.inputs(); }
  int64_t source_channels() const override { return scores_.source_channels(); }

  Source keyed_source(Run& run) const {
    return SourceAttention::keyed_source(run, scores_.width(),
                                         [&](const float* values, int64_t rows, float* keys) {
                                           scores_.make_keys(run, values, rows, keys);
                                         });
  }

  // Merges filters and projection into one product for each head, on windows of shape
  // [filter_size, kFeatures].
  std::vector<ops::Linear> read_location(const WeightScope& weights) const {
    const auto& [source, heads, units, filters, size, same] = fields_;
    const WeightSource kernel = weights.child("location_filters")
                                    .source("depthwise_kernel", {size, kFeatures, heads, filters});
    const WeightSource projection = weights.source("location_projection", {heads, filters, units});
    const ops::MatrixSizes sizes{heads, size * kFeatures, units};
    const ops::Panels panels =
        weights.panels({projection, kernel}, "", sizes,
                       [&, heads = heads, units = units](const ops::Panels::Pack& pack) {
                         const std::vector<float> taps = to_floats(kernel.tensor);
                         const std::vector<float> projected = to_floats(projection.tensor);
                         for (int64_t n = 0; n < heads; ++n)
                           pack(n, merged(n, taps, projected).data(), units, 1);
                       });
    std::vector<ops::Linear> out;
    for (int64_t n = 0; n < heads; ++n) out.emplace_back(panels, n);
    return out;
  }
  // The product [taps * kFeatures, units] of filters and projection of one head.
  std::vector<float> merged(int64_t head, const std::vector<float>& kernel,
                            const std::vector<float>& projection) const {
    const int64_t heads = fields_.heads, units = fields_.units, filters = fields_.filters;
    const int64_t rows = static_cast<int64_t>(kernel.size()) / (heads * filters);
    std::vector<double> sums(static_cast<size_t>(rows * units));
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t l = 0; l < filters; ++l) {
        const double tap = kernel[static_cast<size_t>((i * heads + head) * filters + l)];
        for (int64_t h = 0; h < units; ++h) {
          sums[static_cast<size_t>(i * units + h)] +=
              tap * projection[static_cast<size_t>((head * filters + l) * units + h)];
        }
      }
    }
    return {sums.begin(), sums.end()};
  }

  // Adds the filtered and projected location to the keys [time, heads, units]. `padded` is scratch.
  void add_location(const Run& run, const float* location, int64_t time, float* padded,
                    float* keys) const {
    const int64_t reach = fields_.filter_size - 1;
    const int64_t left = fields_.same ? reach / 2 : 0;
    const int64_t rows = fields_.same ? time : std::max<int64_t>(0, time - reach);
    const int64_t width = scores_.width();
    std::fill_n(padded, (time + reach) * kFeatures, 0.0f);
    for (int64_t n = 0; n < fields_.heads; ++n) {
      std::copy_n(location + n * time * kFeatures, time * kFeatures, padded + left * kFeatures);
      location_[static_cast<size_t>(n)].apply(run, padded, kFeatures, rows, nullptr, true,
                                              keys + n * fields_.units, width);
    }
  }

  Sequence look(Run& run, const Sequence& x, float* location) const override {
    const Source source = keyed_source(run);
    const int64_t width = scores_.width(), time = source.time;
    const int64_t count = fields_.heads * time;
    const float* queries = scores_.queries(run, masked(run, x), x.steps());
    auto* located = run.scratch<float>(time, width);
    auto* padded = run.scratch<float>(time + fields_.filter_size - 1, kFeatures);
    auto* hidden = run.scratch<float>(width);
    return attend(run, x, source, [&](int64_t b, int64_t t, float* weights) {
      float* looked = location + b * count * kFeatures;
      std::copy_n(source.item_keys(b, width), time * width, located);
      add_location(run, looked, time, padded, located);
      scores_.weigh(queries + (b * x.time + t) * width, located, source.item_mask(b), time, hidden,
                    weights);
      for (int64_t i = 0; i < count; ++i) {
        looked[i * kFeatures] = weights[i];
        looked[i * kFeatures + 1] += weights[i];
      }
    });
  }

  Fields fields_;
  AdditiveScores scores_;
  std::vector<ops::Linear> location_;  // one for each head
};

SL_REGISTER_LAYER(LocationSensitiveAttention);

}  // namespace
}  // namespace sl

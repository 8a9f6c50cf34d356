#include "model/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/status.h"
#include "ops/error_feedback.h"
#include "ops/input_record.h"

namespace sl {
namespace {

// Inputs whose errors are made up for together; of larger matrices each segment on its own.
constexpr int64_t kMaxSegment = 2048;
static_assert(kMaxSegment % 32 == 0);

// Memory of statistics at a time, in bytes. A segment takes at most 35 MB.
constexpr size_t kStatisticsBytes = size_t{512} << 20;

// Rows that are enough for any matrix: of more, evenly spaced ones are recorded.
constexpr int64_t kMaxRows = 8192;

// With fewer rows, weights are rounded to the nearest.
constexpr int64_t kMinRows = 32;

std::string key_of(const std::string& name, const std::vector<WeightSlice>& slices) {
  std::string key = name;
  for (const WeightSlice& slice : slices) key += fmt::format(" {}", slice.index);
  return key;
}

// Matrices of one tensor while they are calibrated.
struct Matrices {
  std::string key;
  WeightFormat format;
  ops::Panels panels;  // float32
  std::shared_ptr<ops::InputRecord> record;
  std::vector<ops::RoundedMatrix> rounded;
};

// Keeps matrices in float32 and records their inputs.
class Recorder final : public MatrixMaker {
 public:
  std::optional<ops::Panels> make(const std::string& name, const std::vector<WeightSlice>& slices,
                                  WeightFormat format, const ops::MatrixSizes& sizes,
                                  const ops::Panels::Fill& fill) override {
    ops::Panels panels(WeightFormat::kFloat32, sizes, fill);
    const auto record = std::make_shared<ops::InputRecord>(sizes);
    panels.record(record);
    matrices_.push_back({key_of(name, slices), format, panels, record, {}});
    return panels;
  }
  std::vector<Matrices>& matrices() { return matrices_; }

 private:
  std::vector<Matrices> matrices_;
};

// Finds matrices that were rounded before.
class Finder final : public MatrixMaker {
 public:
  explicit Finder(const std::map<std::string, ops::Panels>& matrices) : matrices_(matrices) {}

  std::optional<ops::Panels> make(const std::string& name, const std::vector<WeightSlice>& slices,
                                  WeightFormat format, const ops::MatrixSizes& sizes,
                                  const ops::Panels::Fill&) override {
    const auto found = matrices_.find(key_of(name, slices));
    if (found == matrices_.end() || found->second.format() != format ||
        found->second.sizes() != sizes) {
      return std::nullopt;
    }
    return found->second;
  }

 private:
  const std::map<std::string, ops::Panels>& matrices_;
};

// The inputs [begin, begin + size) of a matrix.
struct Segment {
  Matrices* matrices;
  int64_t index, begin, size;
};

std::vector<Segment> segments_of(std::vector<Matrices>& all) {
  std::vector<Segment> segments;
  for (Matrices& matrices : all) {
    const ops::MatrixSizes& sizes = matrices.panels.sizes();
    for (int64_t index = 0; index < sizes.count; ++index) {
      for (int64_t begin = 0; begin < sizes.inputs; begin += kMaxSegment)
        segments.push_back({&matrices, index, begin, std::min(kMaxSegment, sizes.inputs - begin)});
    }
  }
  return segments;
}

void require_rows(const std::vector<Matrices>& all) {
  if (all.empty()) {
    fail(Code::kInvalidArgument,
         "calibration: no matrix of the model is to be int8 or int4 by the weight formats");
  }
  int64_t most = 0;
  for (const Matrices& matrices : all) {
    for (int64_t i = 0; i < matrices.panels.sizes().count; ++i)
      most = std::max(most, matrices.record->rows(i));
  }
  if (most >= kMinRows) return;
  fail(Code::kInvalidArgument,
       "calibration: the data give each matrix at most {} rows of inputs: expected {} or more for "
       "at least one of them",
       most, kMinRows);
}

// Records the moments of segments in one run, and rounds their weights.
class Pass {
 public:
  // Takes as many segments from the front as memory allows, at least one.
  explicit Pass(std::span<const Segment>& segments) {
    size_t bytes = 0;
    while (!segments.empty()) {
      bytes += ops::InputMoments::bytes(segments.front().size);
      if (!segments_.empty() && bytes > kStatisticsBytes) break;
      segments_.push_back(segments.front());
      segments = segments.subspan(1);
    }
    for (const Segment& segment : segments_) {
      const int64_t rows = segment.matrices->record->rows(segment.index);
      moments_.push_back(std::make_unique<ops::InputMoments>(
          segment.begin, segment.size, std::max<int64_t>(1, (rows + kMaxRows - 1) / kMaxRows)));
      if (rows >= kMinRows) segment.matrices->record->watch(segment.index, moments_.back().get());
    }
  }

  void round() {
    for (const Segment& segment : segments_) segment.matrices->record->clear();
    std::vector<float> weights;
    const Segment* last = nullptr;
    for (size_t i = 0; i < segments_.size(); ++i) {
      const Segment& segment = segments_[i];
      Matrices& matrices = *segment.matrices;
      const ops::MatrixSizes& sizes = matrices.panels.sizes();
      if (!last || last->matrices != &matrices || last->index != segment.index)
        weights = matrices.panels.unpack(segment.index);
      last = &segment;
      if (segment.begin == 0) matrices.rounded.emplace_back(sizes.inputs, sizes.outputs);
      std::vector<double> moments = moments_[i]->take();
      moments_[i].reset();
      ops::round_with_feedback(matrices.format, weights, segment.begin, segment.size, moments,
                               matrices.rounded.back());
    }
  }

 private:
  std::vector<Segment> segments_;
  std::vector<std::unique_ptr<ops::InputMoments>> moments_;
};

}  // namespace

Calibration::Calibration(const std::string& directory, ModelOptions options, const Apply& apply) {
  Recorder recorder;
  options.matrix_maker = &recorder;
  // Records are of one thread.
  options.num_threads = options.num_step_threads = 1;
  options.parallel_for = nullptr;
  options.matmul_backend = MatmulBackend::kOwn;
  const std::unique_ptr<Model> model = Model::open(directory, options);
  weights_fingerprint_ = model->weights_fingerprint();
  apply(*model);
  require_rows(recorder.matrices());
  const std::vector<Segment> all = segments_of(recorder.matrices());
  for (std::span<const Segment> rest = all; !rest.empty();) {
    Pass pass(rest);
    apply(*model);
    pass.round();
  }
  for (const Matrices& matrices : recorder.matrices()) {
    matrices_.emplace(matrices.key,
                      ops::Panels(matrices.format, matrices.panels.sizes(), matrices.rounded));
  }
}

std::unique_ptr<Model> Calibration::open(const std::string& directory, ModelOptions options) const {
  Finder finder(matrices_);
  options.matrix_maker = &finder;
  std::unique_ptr<Model> model = Model::open(directory, options);
  if (model->weights_fingerprint() != weights_fingerprint_) {
    fail(Code::kInvalidArgument,
         "calibration: the weights of \"{}\" are not those that were calibrated", directory);
  }
  return model;
}

}  // namespace sl

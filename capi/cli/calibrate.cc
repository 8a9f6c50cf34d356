#include "cli/calibrate.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "cli/noise.h"
#include "cli/progress.h"

namespace sl::cli {
namespace {

using nlohmann::json;
using sequence_layers::Calibration;
using sequence_layers::Layer;
using testing::Input;
using testing::Model;

struct Candidate {
  KeptMatrix matrix;
  double noise = 0;  // its share of the signal's power
  double bytes = 0;
};

json matrices_of(const Layer& layer, const Input& input) {
  return json::parse(layer.describe(testing::channel_spec(input.x), views(input.constants)))
      .at("matrices");
}

// `formats` with another format for these tensors.
std::string with(std::string formats, const std::vector<std::string>& tensors,
                 const std::string& format) {
  for (const std::string& tensor : tensors) formats += ", " + tensor + "=" + format;
  return formats;
}

double power(double decibels) { return std::pow(10, -decibels / 10); }

// Rounds the matrices that get int8 or int4; nothing if there are none.
std::optional<Calibration> round_for(const Model& model, const Input& input,
                                     const std::string& formats) {
  const json matrices = matrices_of(open_in_formats(model.directory, formats), input);
  const bool rounds = std::ranges::any_of(matrices, [](const json& matrix) {
    return matrix.at("format") == "int8" || matrix.at("format") == "int4";
  });
  if (!rounds) return std::nullopt;
  const std::vector<sl_constant> constants = views(input.constants);
  sl_run_options run = SL_RUN_OPTIONS_INIT;
  run.constants = constants.data();
  run.num_constants = static_cast<int64_t>(constants.size());
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.weight_format = formats.c_str();
  return Calibration(model.directory, &options, input.x.view(), &run);
}

class Search {
 public:
  Search(const Model& model, const Input& input, const CalibrationOptions& options,
         const std::optional<Calibration>& weights)
      : model_(model),
        input_(input),
        options_(options),
        weights_(weights),
        wanted_(apply(open("float32"), input)) {}

  // The signal to noise at the output with these kept matrices.
  double evaluate(CalibratedModel& found) const {
    found.formats = options_.formats;
    for (const KeptMatrix& kept : found.kept)
      found.formats = with(found.formats, kept.tensors, options_.kept_format);
    return found.output_db = ratio(found.formats);
  }

  // The matrices that the formats convert, those with the most noise for their bytes first.
  std::vector<Candidate> candidates() const {
    const json converted = matrices_of(open(options_.formats), input_);
    std::vector<Candidate> out;
    ProgressBar bar;
    for (size_t i = 0; i < converted.size(); ++i) {
      bar.show(static_cast<double>(i) / static_cast<double>(converted.size()));
      const std::string format = converted[i].at("format");
      if (format == "float32" || format == options_.kept_format) continue;
      Candidate candidate;
      candidate.matrix.tensors = converted[i].at("tensors").get<std::vector<std::string>>();
      candidate.matrix.alone_db = ratio(with("float32", candidate.matrix.tensors, format));
      candidate.noise = power(candidate.matrix.alone_db);
      candidate.bytes = converted[i].at("bytes");
      out.push_back(std::move(candidate));
    }
    std::ranges::stable_sort(out, std::greater<>(),
                             [](const Candidate& c) { return c.noise / c.bytes; });
    return out;
  }

 private:
  Layer open(const std::string& formats) const {
    return open_in_formats(model_.directory, formats, weights_);
  }

  double ratio(const std::string& formats) const {
    Noise noise;
    noise.add(wanted_, apply(open(formats), input_));
    return noise.ratio();
  }

  const Model& model_;
  const Input& input_;
  const CalibrationOptions& options_;
  const std::optional<Calibration>& weights_;
  Tensor wanted_;
};

// Converts kept matrices after all where the aim allows it, those with the least noise first.
void release(const Search& search, double aim_db, CalibratedModel& found) {
  std::vector<KeptMatrix> quietest = found.kept;
  std::ranges::stable_sort(quietest, std::greater<>(), &KeptMatrix::alone_db);
  for (const KeptMatrix& matrix : quietest) {
    if (matrix.alone_db < aim_db) break;
    CalibratedModel fewer;
    std::ranges::copy_if(found.kept, std::back_inserter(fewer.kept),
                         [&](const KeptMatrix& kept) { return kept.tensors != matrix.tensors; });
    if (search.evaluate(fewer) < aim_db) continue;
    found = std::move(fewer);
  }
}

// Keeps the matrices with the most noise for their size until the output reaches the aim.
void keep(const Search& search, double aim_db, CalibratedModel& found) {
  const std::vector<Candidate> candidates = search.candidates();
  // The noise of several matrices adds up nearly as if it were independent.
  double noise = 0;
  for (const Candidate& candidate : candidates) noise += candidate.noise;
  for (const Candidate& candidate : candidates) {
    found.kept.push_back(candidate.matrix);
    noise -= candidate.noise;
    if (noise > power(aim_db) * 2) continue;  // far from the aim: not worth a run
    if (search.evaluate(found) >= aim_db) break;
  }
}

}  // namespace

Layer open_in_formats(const std::string& directory, const std::string& formats,
                      const std::optional<Calibration>& weights) {
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.weight_format = formats.c_str();
  return weights ? Layer::open(directory, &options, *weights) : Layer::open(directory, &options);
}

CalibratedModel calibrate(const Model& model, const Input& input,
                          const CalibrationOptions& options) {
  std::optional<Calibration> weights;
  if (options.feedback) weights = round_for(model, input, options.formats);
  CalibratedModel found;
  const Search search(model, input, options, weights);
  if (search.evaluate(found) < options.aim_db) {
    keep(search, options.aim_db, found);
    release(search, options.aim_db, found);
  }
  found.weights = std::move(weights);
  return found;
}

}  // namespace sl::cli

#include "cli/calibrate.h"

#include <algorithm>
#include <cmath>

#include "cli/noise.h"
#include "cli/progress.h"

namespace sl::cli {
namespace {

using nlohmann::json;
using sequence_layers::Layer;
using testing::Input;
using testing::Model;

struct Candidate {
  KeptMatrix matrix;
  double noise = 0;  // its share of the signal's power
  double bytes = 0;
};

Layer open(const Model& model, const std::string& formats) {
  sl_layer_options options = SL_LAYER_OPTIONS_INIT;
  options.weight_format = formats.c_str();
  return Layer::open(model.directory, &options);
}

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

class Search {
 public:
  Search(const Model& model, const Input& input)
      : model_(model), input_(input), wanted_(apply(open(model, "float32"), input)) {}

  double ratio(const std::string& formats) const {
    Noise noise;
    noise.add(wanted_, apply(open(model_, formats), input_));
    return noise.ratio();
  }

  // The matrices that the formats convert, those with the most noise for their bytes first.
  std::vector<Candidate> candidates(const std::string& formats) const {
    const json converted = matrices_of(open(model_, formats), input_);
    std::vector<Candidate> out;
    ProgressBar bar;
    for (size_t i = 0; i < converted.size(); ++i) {
      bar.show(static_cast<double>(i) / static_cast<double>(converted.size()));
      const std::string format = converted[i].at("format");
      if (format == "float32") continue;
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
  const Model& model_;
  const Input& input_;
  Tensor wanted_;
};

// Sets the formats that follow from the kept matrices, and the ratio that they give.
double evaluate(const Search& search, const std::string& formats, Calibration& found) {
  found.formats = formats;
  for (const KeptMatrix& kept : found.kept)
    found.formats = with(found.formats, kept.tensors, "float32");
  return found.output_db = search.ratio(found.formats);
}

// Converts kept matrices after all where the aim allows it, those with the least noise first.
void release(const Search& search, const std::string& formats, double aim_db, Calibration& found) {
  std::vector<KeptMatrix> quietest = found.kept;
  std::ranges::stable_sort(quietest, std::greater<>(), &KeptMatrix::alone_db);
  for (const KeptMatrix& matrix : quietest) {
    if (matrix.alone_db < aim_db) break;
    Calibration fewer = found;
    std::erase_if(fewer.kept,
                  [&](const KeptMatrix& kept) { return kept.tensors == matrix.tensors; });
    if (evaluate(search, formats, fewer) >= aim_db) found = std::move(fewer);
  }
}

}  // namespace

Calibration calibrate(const Model& model, const Input& input, const std::string& formats,
                      double aim_db) {
  const Search search(model, input);
  Calibration found{formats, {}, search.ratio(formats)};
  if (found.output_db >= aim_db) return found;
  const std::vector<Candidate> candidates = search.candidates(formats);
  // The noise of several matrices adds up nearly as if it were independent.
  double noise = 0;
  for (const Candidate& candidate : candidates) noise += candidate.noise;
  for (const Candidate& candidate : candidates) {
    found.kept.push_back(candidate.matrix);
    noise -= candidate.noise;
    if (noise > power(aim_db) * 2) continue;  // far from the aim: not worth a run
    if (evaluate(search, formats, found) >= aim_db) break;
  }
  release(search, formats, aim_db, found);
  return found;
}

}  // namespace sl::cli

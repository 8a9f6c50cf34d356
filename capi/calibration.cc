#include "model/calibration.h"

#include "convert.h"
#include "handles.h"
#include "model/advance.h"

namespace {

using sl::capi::guard;
using sl::capi::not_null;
using sl::capi::read_struct;

// Runs the model on a sequence, for what the run records.
void run(const sl::Model& model, const sl::View& x, const sl_run_options& options) {
  const auto given =
      sl::capi::to_constants(options.constants, options.num_constants, /*needs_data=*/true);
  sl::KeptMemory::Workspace workspace(model.kept_memory());
  sl::Stack& stack = workspace->on(sl::Side::kB);
  const std::vector<sl::Constant> imported = sl::capi::import_constants(stack, given);
  const sl::Constants constants(imported);
  // Fails if the sequence does not fit the model.
  model.output({x.channels(), x.dims[0], x.dims[1], sl::Mode::kLayer}, constants);
  model.apply(*workspace, sl::import_sequence(stack, x, /*copy=*/false), {}, constants);
}

}  // namespace

sl_status sl_calibration_create(const char* directory, const sl_layer_options* options,
                                const sl_sequence* x, const sl_run_options* run_options,
                                sl_calibration** out, sl_error* error) {
  return guard(error, [&] {
    not_null(out, "out");
    const sl::View view = sl::capi::to_sequence_view(x, "x", /*needs_data=*/true);
    const sl_run_options given = read_struct(run_options, "run_options");
    if (given.state || given.num_emits != 0 || given.profile) {
      sl::fail(sl::Code::kInvalidArgument, "run_options: expected constants and nothing else");
    }
    *out = new sl_calibration{
        sl::Calibration(not_null(directory, "directory"), sl::capi::to_model_options(options),
                        [&](const sl::Model& model) { run(model, view, given); })};
  });
}

void sl_calibration_free(sl_calibration* calibration) { delete calibration; }

sl_status sl_layer_open_calibrated(const char* directory, const sl_layer_options* options,
                                   const sl_calibration* calibration, sl_layer** out,
                                   sl_error* error) {
  return guard(error, [&] {
    not_null(out, "out");
    auto layer = std::make_unique<sl_layer>();
    layer->model = not_null(calibration, "calibration")
                       ->calibration.open(not_null(directory, "directory"),
                                          sl::capi::to_model_options(options));
    *out = layer.release();
  });
}

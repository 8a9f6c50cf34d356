#include "model/properties.h"

#include "core/status.h"

namespace sl {
namespace {

using CanStep = bool (Layer::*)() const;

// A layer with its path from the root; the path of the root is empty.
struct Found {
  const Layer& layer;
  std::string path;
};

// The layer that keeps the given one from stepping: the outermost one that names an obstacle of its
// own.
Found unsteppable(const Layer& layer, CanStep can_step, const std::string& path) {
  if (!layer.step_obstacle().empty()) return {layer, path};
  for (const Layer* child : layer.children()) {
    if ((child->*can_step)()) continue;
    return unsteppable(*child, can_step, path.empty() ? child->name() : path + '.' + child->name());
  }
  return {layer, path};
}

// How messages name a layer: `its Conv2D "encoder.conv"`, or `it` for the root.
std::string named(const Found& found) {
  if (found.path.empty()) return "it";
  return fmt::format("its {} \"{}\"", found.layer.type(), found.path);
}

std::string obstacle_of(const Found& found) {
  const std::string reason = found.layer.step_obstacle();
  if (found.path.empty()) return reason;
  return named(found) + " cannot" + (reason.empty() ? "" : ": ") + reason;
}

std::string keeps_all(const Layer& root) {
  return fmt::format("{} keeps all of them", named(unsteppable(root, &Layer::supports_step, "")));
}

bool is_possible(const Layer& layer) {
  try {
    layer.receptive_field();
    return true;
  } catch (const ImpossibleField&) {
    return false;
  }
}

// The innermost layer whose receptive field is impossible.
const Layer& impossible(const Layer& layer) {
  for (const Layer* child : layer.children()) {
    if (!is_possible(*child)) return impossible(*child);
  }
  return layer;
}

}  // namespace

std::string step_obstacle(const Layer& root) {
  if (root.supports_step()) return {};
  if (root.supports_finite_step())
    return "it needs max_length, the maximum number of steps of the stream: " + keeps_all(root);
  return obstacle_of(unsteppable(root, &Layer::supports_finite_step, ""));
}

void check_steppable(const Layer& root, int64_t max_length) {
  const bool finite = root.supports_finite_step();
  if (max_length > 0 ? finite : root.supports_step()) return;
  if (finite) {
    fail(Code::kUnsupported,
         "{} cannot run step-wise without options.max_length, the maximum number of steps of the "
         "stream: {}",
         root.type(), keeps_all(root));
  }
  const std::string reason = step_obstacle(root);
  fail(Code::kUnsupported, "{} cannot run step-wise{}{}", root.type(), reason.empty() ? "" : ": ",
       reason);
}

ReceptiveField receptive_field_of(const Layer& root) {
  try {
    return root.receptive_field();
  } catch (const ImpossibleField& error) {
    const Layer& cause = impossible(root);
    fail(Code::kUnsupported, "{}: {}: no step of its input reaches its output", cause.label(),
         error.what());
  }
}

}  // namespace sl

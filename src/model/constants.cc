#include "model/constants.h"

#include <algorithm>

#include "core/config.h"
#include "core/status.h"

namespace sl {
namespace {

using Kind = ConstantSpec::Kind;

const char* kind_text(Kind kind) { return kind == Kind::kArray ? "an array" : "a sequence"; }

// Merges two shapes that match: a size that one of them leaves open is taken from the other.
Shape known_sizes(const Shape& a, const Shape& b) {
  Shape out = a;
  for (int i = 0; i < a.rank(); ++i) out[i] = a[i] == kAnySize ? b[i] : a[i];
  return out;
}

// Why the given constant does not fit what a layer reads, for a message; empty if it fits.
std::string objection(const Constant& given, const ConstantUse& use, int64_t batch) {
  const ConstantSpec& spec = use.spec;
  const Kind kind = given.is_array ? Kind::kArray : Kind::kSequence;
  const auto expects = [&](const std::string& is, std::string_view expected) {
    return fmt::format("{}: {} expects {}", is, use.reader, expected);
  };
  if (spec.kind != Kind::kAny && spec.kind != kind)
    return expects(fmt::format("is {}", kind_text(kind)), kind_text(spec.kind));
  if (given.is_array && given.shape.empty())
    return expects("is an array of rank 0", "the batch as its first axis");
  const DType dtype = given.sequence.dtype;
  if (spec.dtype && *spec.dtype != dtype)
    return expects(fmt::format("is of dtype {}", name_of(dtype)), name_of(*spec.dtype));
  if (spec.channels && !matches(given.channels(), *spec.channels)) {
    const char* what = given.is_array ? "items" : "channels";
    return expects(fmt::format("has {} of {}", what, to_string(given.channels())),
                   to_string(*spec.channels));
  }
  if (batch == 0 || given.batch() == batch || (spec.broadcasts && given.batch() == 1)) return "";
  return expects(fmt::format("has a batch of {}", given.batch()),
                 fmt::format("{}{}", batch, spec.broadcasts ? " or 1" : ""));
}

// Names the given constant with the most similar name, which the caller may have meant.
std::string near_miss(const Constants& given, const std::string& name) {
  std::vector<std::string> names;
  for (const Constant& constant : given) names.emplace_back(constant.name);
  const std::string near = nearest_name(name, names);
  return near.empty() ? "" : fmt::format("; \"{}\" was given", near);
}

}  // namespace

ConstantTable::ConstantTable(const Layer& root) {
  collect(root, "");
  for (const ConstantUse& use : uses_) merge(use);
}

void ConstantTable::collect(const Layer& layer, const std::string& path) {
  for (ConstantSpec& spec : layer.constants()) {
    const std::string where =
        path.empty() ? layer.type() : fmt::format("{} \"{}\"", layer.type(), path);
    uses_.push_back({std::move(spec), path, where});
  }
  for (const Layer* child : layer.children())
    collect(*child, path.empty() ? child->name() : path + '.' + child->name());
}

void ConstantTable::merge(const ConstantUse& use) {
  const auto [index, is_new] = indices_.emplace(use.spec.name, merged_.size());
  if (is_new) {
    merged_.push_back(use);
    return;
  }
  ConstantUse* const it = &merged_[index->second];
  ConstantSpec& all = it->spec;
  const ConstantSpec& one = use.spec;
  const auto differ = [&](std::string_view a, std::string_view b) {
    fail(Code::kConfig, "constant \"{}\": {} reads {}, {} reads {}", one.name, it->reader, a,
         use.reader, b);
  };
  if (all.kind != one.kind && all.kind != Kind::kAny && one.kind != Kind::kAny)
    differ(kind_text(all.kind), kind_text(one.kind));
  if (all.dtype && one.dtype && *all.dtype != *one.dtype)
    differ(name_of(*all.dtype), name_of(*one.dtype));
  if (all.channels && one.channels && !matches(*all.channels, *one.channels))
    differ(to_string(*all.channels), to_string(*one.channels));
  if (all.channels && one.channels) {
    all.channels = known_sizes(*all.channels, *one.channels);
  } else if (one.channels) {
    all.channels = one.channels;
  }
  if (all.kind == Kind::kAny) all.kind = one.kind;
  if (!all.dtype) all.dtype = one.dtype;
  all.required = all.required || one.required;
  all.streamed = all.streamed || one.streamed;
  all.broadcasts = all.broadcasts && one.broadcasts;
}

const ConstantSpec* ConstantTable::find(std::string_view name) const {
  const auto it = indices_.find(std::string(name));
  return it == indices_.end() ? nullptr : &merged_[it->second].spec;
}

void ConstantTable::check(const Constants& given, int64_t batch) const {
  for (const ConstantUse& use : uses_) {
    const Constant* constant = given.find(use.spec.name);
    if (!constant && use.spec.required) {
      fail(Code::kInvalidArgument, "constant \"{}\" is missing: {} reads it{}", use.spec.name,
           use.reader, near_miss(given, use.spec.name));
    }
    const std::string wrong = constant ? objection(*constant, use, batch) : "";
    if (!wrong.empty()) fail(Code::kShape, "constant \"{}\" {}", use.spec.name, wrong);
  }
}

void ConstantTable::check_streaming() const {
  for (const ConstantUse& use : uses_) {
    if (use.spec.streamed || !find(use.spec.name)->streamed) continue;
    const auto other = std::ranges::find_if(uses_, [&](const ConstantUse& u) {
      return u.spec.name == use.spec.name && u.spec.streamed;
    });
    fail(Code::kUnsupported,
         "constant \"{}\" cannot be both streamed, as {} reads it, and whole, as {} does",
         use.spec.name, other->reader, use.reader);
  }
}

}  // namespace sl

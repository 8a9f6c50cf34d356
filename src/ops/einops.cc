#include "ops/einops.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

namespace sl::ops {
namespace {

constexpr std::string_view kArrow = "->";
constexpr int kAnonymous = -2;  // "1": a dimension without a name

bool is_name_character(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// Cuts the next token off `text`: a name, a number, "...", "(" or ")". Empty at the end.
std::string next_token(const Config& config, std::string_view* text) {
  while (!text->empty() && text->front() == ' ') text->remove_prefix(1);
  if (text->empty()) return "";
  size_t size = 1;
  if (text->starts_with("...")) {
    size = 3;
  } else if (is_name_character(text->front())) {
    while (size < text->size() && is_name_character((*text)[size])) ++size;
  } else if (text->front() != '(' && text->front() != ')') {
    config.error("pattern", fmt::format("unexpected character '{}'", text->front()));
  }
  std::string token(text->substr(0, size));
  text->remove_prefix(size);
  return token;
}

}  // namespace

Einops::Einops(Config& config, std::initializer_list<const char*> reserved)
    : pattern_(config.string("pattern")), reserved_(reserved.begin(), reserved.end()) {
  const std::string_view text = pattern_;
  const size_t arrow = text.find(kArrow);
  if (arrow == std::string_view::npos || text.find(kArrow, arrow + 1) != std::string_view::npos) {
    config.error("pattern", fmt::format("expected \"input -> output\", got \"{}\"", pattern_));
  }
  input_ = parse(config, text.substr(0, arrow), /*is_input=*/true);
  output_ = parse(config, text.substr(arrow + kArrow.size()), /*is_input=*/false);
  check_sides(config);
  read_lengths(config);
  check_lengths(config);
}

int Einops::axis_named(const Config& config, const std::string& name, bool is_input) {
  if (name == "1") return kAnonymous;
  if (std::isdigit(static_cast<unsigned char>(name.front()))) {
    config.error("pattern", fmt::format("\"{}\": the only number allowed as an axis is 1", name));
  }
  if (name.front() == '_' || name.back() == '_') {
    config.error("pattern", fmt::format("axis \"{}\" begins or ends with an underscore", name));
  }
  if (std::ranges::find(reserved_, name) != reserved_.end()) {
    config.error("pattern", fmt::format("\"{}\" is reserved and cannot name an axis", name));
  }
  const auto it = std::ranges::find(names_, name);
  const bool known = it != names_.end();
  if (is_input && known) config.error("pattern", fmt::format("axis \"{}\" comes twice", name));
  if (!is_input && !known) {
    config.error("pattern", fmt::format("axis \"{}\" is not in the input", name));
  }
  if (known) return static_cast<int>(it - names_.begin());
  if (names_.size() == Shape::kMaxRank) {
    config.error("pattern", fmt::format("more than {} axes", Shape::kMaxRank));
  }
  names_.push_back(name);
  return static_cast<int>(names_.size()) - 1;
}

std::vector<Einops::Group> Einops::parse(const Config& config, std::string_view side,
                                         bool is_input) {
  std::vector<Group> groups;
  bool inside = false;
  for (std::string token = next_token(config, &side); !token.empty();
       token = next_token(config, &side)) {
    const bool opens = token == "(", closes = token == ")";
    if ((opens && inside) || (closes && !inside)) {
      config.error("pattern", fmt::format("unbalanced or nested \"{}\"", token));
    }
    if (opens || closes) {
      inside = opens;
      if (opens) groups.push_back({{}, true});
      continue;
    }
    if (!inside) groups.emplace_back();
    if (token == "...") {
      if (inside && is_input) config.error("pattern", "\"...\" within parentheses of the input");
      groups.back().axes.push_back(kEllipsis);
    } else if (const int axis = axis_named(config, token, is_input); axis != kAnonymous) {
      groups.back().axes.push_back(axis);
    }
  }
  if (inside) config.error("pattern", "a parenthesis is not closed");
  return groups;
}

// Every axis of the input must come once in the output.
void Einops::check_sides(const Config& config) const {
  const auto count = [](const std::vector<Group>& groups, int axis) {
    std::ptrdiff_t n = 0;
    for (const Group& group : groups) n += std::ranges::count(group.axes, axis);
    return n;
  };
  for (size_t i = 0; i < names_.size(); ++i) {
    if (count(output_, static_cast<int>(i)) != 1) {
      config.error("pattern", fmt::format("axis \"{}\" must come once in the output", names_[i]));
    }
  }
  const auto ellipses = count(input_, kEllipsis);
  if (ellipses > 1 || count(output_, kEllipsis) != ellipses) {
    config.error("pattern", "\"...\" must come once on both sides or on none");
  }
}

void Einops::read_lengths(Config& config) {
  given_.assign(names_.size(), 0);
  config.note("axes_lengths", "object of axes and lengths, or null", "null");
  const Json* lengths = config.raw("axes_lengths");
  if (!lengths) return;
  if (!lengths->is_object()) config.error("axes_lengths", "expected an object of axes and lengths");
  for (const auto& item : lengths->items()) {
    const auto it = std::ranges::find(names_, item.key());
    if (it == names_.end()) {
      const std::string near = nearest_name(item.key(), names_);
      config.error("axes_lengths",
                   fmt::format("\"{}\" is not an axis of the pattern{}", item.key(),
                               near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
    }
    const Json& length = item.value();
    constexpr int64_t kMax = int64_t{1} << 31;
    if (!length.is_number_integer() || length.get<int64_t>() < 1 || length.get<int64_t>() > kMax) {
      config.error("axes_lengths", fmt::format("\"{}\": expected an integer from 1 to 2^31, got {}",
                                               item.key(), excerpt(length)));
    }
    given_[static_cast<size_t>(it - names_.begin())] = length.get<int64_t>();
  }
}

// Checks that in each group at most one axis has a length that only the input determines.
void Einops::check_lengths(const Config& config) const {
  for (const Group& group : input_) {
    const auto unknown = [&](int axis) {
      return axis != kEllipsis && given_[static_cast<size_t>(axis)] == 0;
    };
    if (std::ranges::count_if(group.axes, unknown) > 1) {
      config.error("axes_lengths",
                   "lengths are missing: one axis at most of each parenthesis can "
                   "be told from the input");
    }
  }
}

int64_t Einops::given_lengths() const {
  int64_t product = 1;
  for (int64_t length : given_) product = checked_product(product, std::max<int64_t>(length, 1));
  return product;
}

int Einops::output_rank() const {
  return static_cast<int>(
      std::ranges::count_if(output_, [](const Group& g) { return !g.is_ellipsis(); }));
}

void Einops::solve_group(const Group& group, int64_t dim, int64_t stride,
                         Solution* solution) const {
  int64_t known = 1;
  for (int axis : group.axes)
    known = checked_product(known, std::max<int64_t>(given_[static_cast<size_t>(axis)], 1));
  const bool has_unknown = std::ranges::any_of(
      group.axes, [&](int axis) { return given_[static_cast<size_t>(axis)] == 0; });
  if (has_unknown ? dim % known != 0 : dim != known) {
    fail(Code::kShape, "pattern \"{}\": a dimension of {} does not fit, expected {}{}", pattern_,
         dim, has_unknown ? "a multiple of " : "", known);
  }
  for (auto it = group.axes.rbegin(); it != group.axes.rend(); ++it) {
    const auto axis = static_cast<size_t>(*it);
    solution->lengths[axis] = given_[axis] == 0 ? dim / known : given_[axis];
    solution->strides[axis] = stride;
    stride = checked_product(stride, solution->lengths[axis]);
  }
}

Einops::Solution Einops::solve(const Shape& input, const Shape& strides) const {
  Solution out;
  const bool has_ellipsis =
      std::ranges::any_of(input_, [](const Group& g) { return g.is_ellipsis(); });
  const int fixed = static_cast<int>(input_.size()) - (has_ellipsis ? 1 : 0);
  if (has_ellipsis ? input.rank() < fixed : input.rank() != fixed) {
    fail(Code::kShape, "pattern \"{}\": expected {}{} dimensions, got {}", pattern_,
         has_ellipsis ? "at least " : "", fixed, to_string(input));
  }
  int dim = 0;
  for (const Group& group : input_) {
    if (group.is_ellipsis()) {
      out.ellipsis_begin = dim;
      out.ellipsis_count = input.rank() - fixed;
      dim += out.ellipsis_count;
    } else {
      solve_group(group, input[dim], strides[dim], &out);
      ++dim;
    }
  }
  return out;
}

StridedView Einops::view(const Shape& input, const Shape& strides, Shape* output) const {
  const Solution solution = solve(input, strides);
  StridedView out;
  *output = Shape();
  for (const Group& group : output_) {
    int64_t product = 1;
    for (int axis : group.axes) {
      const bool is_ellipsis = axis == kEllipsis;
      const int count = is_ellipsis ? solution.ellipsis_count : 1;
      for (int i = 0; i < count; ++i) {
        const auto at = static_cast<size_t>(axis);
        const int dim = solution.ellipsis_begin + i;
        const int64_t length = is_ellipsis ? input[dim] : solution.lengths[at];
        out.push_back(length, is_ellipsis ? strides[dim] : solution.strides[at]);
        product = checked_product(product, length);
        if (group.is_ellipsis()) output->push_back(length);
      }
    }
    if (!group.is_ellipsis()) output->push_back(product);
  }
  return out;
}

}  // namespace sl::ops

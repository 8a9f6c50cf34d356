#include "cli/profile.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "sequence_layers/sequence_layers.hpp"

namespace sl::cli {
namespace {

using Clock = std::chrono::steady_clock;

// The rows of one run; layers of the same path, such as the copies in a Repeat, share one.
std::vector<ProfileRow> rows_of(const nlohmann::json& layers, int64_t runs) {
  std::vector<ProfileRow> rows;
  double all = 0;
  for (const auto& layer : layers) {
    const std::string path = layer["path"], type = layer["type"];
    auto row = std::ranges::find_if(
        rows, [&](const ProfileRow& r) { return r.path == path && r.type == type; });
    if (row == rows.end()) row = rows.insert(row, {.path = path, .type = type});
    const auto add = [&](double& to, const char* key, double factor) {
      to += layer[key].get<double>() * factor / static_cast<double>(runs);
    };
    add(row->calls, "calls", 1);
    add(row->self_micros, "self_seconds", 1e6);
    add(row->flop, "flop", 1);
    add(row->bytes, "bytes", 1);
    const auto& doer = layer["folded_into"];
    if (!doer.is_null()) row->folded_into = layers[doer.get<size_t>()]["path"];
  }
  for (const ProfileRow& row : rows) all += row.self_micros;
  for (ProfileRow& row : rows) row.share = all > 0 ? row.self_micros / all : 0;
  return rows;
}

}  // namespace

void ProfileTable::sort(const std::string& by) {
  const auto falling = [&](double ProfileRow::*field) {
    std::ranges::stable_sort(rows, std::greater<>(), field);
  };
  if (by == "time") falling(&ProfileRow::self_micros);
  if (by == "flop") falling(&ProfileRow::flop);
  if (by == "bytes") falling(&ProfileRow::bytes);
  if (by == "path") std::ranges::stable_sort(rows, std::less<>(), &ProfileRow::path);
}

void ProfileTable::print(const char* name) const {
  constexpr const char* kModel = "(model)";
  size_t width = 8;
  for (const ProfileRow& row : rows) width = std::max(width, row.path.size());
  const int columns = static_cast<int>(width);
  double sum = 0;
  std::printf("\n%s: %.2f us a run, %lld runs on one thread\n", name, whole_micros,
              static_cast<long long>(runs));
  std::printf("%-*s %-24s %8s %12s %7s %9s %9s\n", columns, "layer", "type", "calls", "self us",
              "share", "GFLOP/s", "GB/s");
  for (const ProfileRow& row : rows) {
    sum += row.self_micros;
    const char* const path = row.path.empty() ? kModel : row.path.c_str();
    if (row.folded_into) {
      std::printf("%-*s %-24s %8.0f in %s\n", columns, path, row.type.c_str(), row.calls,
                  row.folded_into->c_str());
      continue;
    }
    std::printf("%-*s %-24s %8.0f %12.2f %6.1f%% %9.2f %9.2f\n", columns, path, row.type.c_str(),
                row.calls, row.self_micros, 100 * row.share, row.gigaflops(), row.gigabytes());
  }
  std::printf("%-*s %-24s %8s %12.2f\n", columns, "sum", "", "", sum);
}

ordered_json ProfileTable::json() const {
  ordered_json layers = ordered_json::array();
  for (const ProfileRow& row : rows) {
    layers.push_back({{"path", row.path},
                      {"type", row.type},
                      {"calls", row.calls},
                      {"self_us", row.self_micros},
                      {"share", row.share},
                      {"flop", row.flop},
                      {"bytes", row.bytes},
                      {"gflop_per_second", row.gigaflops()},
                      {"gbyte_per_second", row.gigabytes()},
                      {"folded_into", row.folded_into ? ordered_json(*row.folded_into) : nullptr}});
  }
  return {{"runs", runs}, {"whole_us", whole_micros}, {"layers", std::move(layers)}};
}

ProfileTable profile(double seconds, const std::function<void(sl_profile*)>& run) {
  sequence_layers::Profile recorded;
  run(recorded.get());  // meets all layers, so that the later runs only add up
  recorded.reset();
  ProfileTable table;
  Clock::duration whole{};
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  for (; Clock::now() < end || table.runs < 3; ++table.runs) {
    const auto start = Clock::now();
    run(recorded.get());
    whole += Clock::now() - start;
  }
  table.whole_micros =
      std::chrono::duration<double, std::micro>(whole).count() / static_cast<double>(table.runs);
  table.rows = rows_of(nlohmann::json::parse(recorded.describe())["layers"], table.runs);
  return table;
}

}  // namespace sl::cli

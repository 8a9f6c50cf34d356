#include "abi/abi_table.h"

#include <algorithm>
#include <regex>
#include <set>
#include <sstream>

namespace sl::testing {
namespace {

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end; (end = text.find(separator, begin)) != std::string::npos;
       begin = end + separator.size()) {
    parts.push_back(text.substr(begin, end - begin));
  }
  parts.push_back(text.substr(begin));
  return parts;
}

// Joins the lines of a comment, without the stars that begin them.
std::string joined(const std::string& text) {
  static const std::regex kBreak(R"(\s*\n(\s*\*(?!/))?\s*)");
  return std::regex_replace(text, kBreak, " ");
}

std::vector<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::vector<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it)
    found.push_back((*it)[1]);
  return found;
}

bool is_init(const std::string& name) { return name.ends_with("_init"); }

Versions all_matches(const std::string& text, const std::regex& pattern) {
  Versions versions;
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it)
    versions[(*it)[1]] = (*it)[2];
  return versions;
}

}  // namespace

Versions versions_in_header(const std::string& header, std::vector<std::string>* faults) {
  static const std::regex kFunction(R"(SL_API [^;]*?\b(sl_[a-z0-9_]+)\()");
  static const std::regex kSince(R"(Since (\d+\.\d+)\.(?!\d))");
  static const std::regex kThreads(R"((\[any-thread\]|\[one-thread-per-state\]))");
  Versions versions;
  // Blank lines separate functions with their comments. An _init function is documented by its
  // struct's comment.
  for (const std::string& paragraph : split(header, "\n\n")) {
    const std::string text = joined(paragraph);
    for (const std::string& name : matches(text, kFunction)) {
      const auto since = matches(text, kSince);
      if (since.size() != 1) faults->push_back(name + ": expected one \"Since X.Y.\" above it");
      if (!is_init(name) && matches(text, kThreads).empty())
        faults->push_back(name + ": no threading class above it");
      versions[name] = since.empty() ? "" : since.front();
    }
  }
  return versions;
}

namespace {

struct Symbol {
  std::string name, since, lifecycle;
};

std::vector<Symbol> symbols_in(const std::string& table, std::vector<std::string>* faults) {
  static const std::regex kLine(R"((sl_[a-z0-9_]+) (\d+\.\d+) (stable|unstable|deprecated))");
  std::vector<Symbol> symbols;
  std::string last;
  for (const std::string& line : split(table, "\n")) {
    if (line.empty() || line.starts_with("#")) continue;
    std::smatch match;
    if (!std::regex_match(line, match, kLine)) {
      faults->push_back("symbols.txt: not \"name since lifecycle\": " + line);
      continue;
    }
    if (match[1] <= last) faults->push_back("symbols.txt: not in order at " + line);
    last = match[1];
    symbols.push_back({match[1], match[2], match[3]});
  }
  return symbols;
}

// A version as numbers, to compare: 1.10 is later than 1.9.
std::pair<int, int> number_of(const std::string& version) {
  const size_t dot = version.find('.');
  return {std::stoi(version.substr(0, dot)), std::stoi(version.substr(dot + 1))};
}

// What the header says about a function's lifecycle.
struct Mark {
  bool deprecated = false, unstable = false;
  std::string successor;
};

std::map<std::string, Mark> marks_in(const std::string& header) {
  static const std::regex kFunction(
      R"re((SL_DEPRECATED\("(\w+)"\) )?SL_API [^;]*?\b(sl_[a-z0-9_]+)\()re");
  std::map<std::string, Mark> marks;
  for (const std::string& paragraph : split(header, "\n\n")) {
    const std::string text = joined(paragraph);
    for (std::sregex_iterator it(text.begin(), text.end(), kFunction), end; it != end; ++it) {
      marks[(*it)[3]] = {(*it)[1].matched, text.find("[unstable]") != std::string::npos, (*it)[2]};
    }
  }
  return marks;
}

}  // namespace

Versions versions_in_table(const std::string& table, std::vector<std::string>* faults) {
  Versions versions;
  for (const Symbol& symbol : symbols_in(table, faults)) versions[symbol.name] = symbol.since;
  return versions;
}

std::vector<std::string> lifecycle_faults(const std::string& header, const std::string& table) {
  static const std::regex kMajor(R"(#define SL_VERSION_MAJOR (\d+))");
  static const std::regex kMinor(R"(#define SL_VERSION_MINOR (\d+))");
  std::vector<std::string> faults;
  const std::string version = matches(header, kMajor).at(0) + "." + matches(header, kMinor).at(0);
  const std::map<std::string, Mark> marks = marks_in(header);
  std::map<std::string, std::string> lifecycles;
  const std::vector<Symbol> symbols = symbols_in(table, &faults);
  for (const Symbol& symbol : symbols) lifecycles[symbol.name] = symbol.lifecycle;
  for (const auto& [name, since, lifecycle] : symbols) {
    const auto found = marks.find(name);
    const Mark mark = found == marks.end() ? Mark() : found->second;
    const auto fault = [&, name = name](const std::string& text) {
      faults.push_back(name + ": " + text);
    };
    if (number_of(since) > number_of(version)) fault("since " + since + ", later than " + version);
    if (mark.deprecated != (lifecycle == "deprecated"))
      fault(mark.deprecated ? "SL_DEPRECATED, but " + lifecycle : "deprecated, no SL_DEPRECATED");
    if (mark.unstable != (lifecycle == "unstable"))
      fault(mark.unstable ? "[unstable], but " + lifecycle : "unstable, no [unstable] above it");
    if (!mark.deprecated) continue;
    const auto successor = lifecycles.find(mark.successor);
    if (successor == lifecycles.end() || successor->second == "deprecated")
      fault("its successor " + mark.successor + " is no function to use");
  }
  return faults;
}

Versions versions_in_nm(const std::string& nm) {
  // Matches all exported names, so that one that should not be exported is found too.
  static const std::regex kSymbol(R"(\s[TWVBDRiu] ([^\s@]+)(?:@@?SEQUENCE_LAYERS_(\S+))?)");
  return all_matches(nm, kSymbol);
}

Versions versions_in_baseline(const std::string& baseline) {
  static const std::regex kSymbol(
      R"(<elf-symbol name='([^']+)' version='SEQUENCE_LAYERS_([^']+)')");
  return all_matches(baseline, kSymbol);
}

std::vector<std::string> abi_faults(const AbiTexts& texts) {
  std::vector<std::string> faults;
  const std::map<std::string, Versions> sources = {
      {"the header", versions_in_header(texts.header, &faults)},
      {"symbols.txt", versions_in_table(texts.table, &faults)},
      {"the library", versions_in_nm(texts.nm)},
      {"the ABI baseline", versions_in_baseline(texts.baseline)}};
  std::set<std::string> names;
  for (const auto& [source, versions] : sources)
    for (const auto& [name, version] : versions) names.insert(name);
  for (const std::string& name : names) {
    std::map<std::string, std::string> told;  // texts by the version that they give
    for (const auto& [source, versions] : sources) {
      const auto found = versions.find(name);
      std::string& of = told[found == versions.end() ? "missing" : "since " + found->second];
      of += (of.empty() ? "" : ", ") + source;
    }
    if (told.size() == 1) continue;
    std::string fault = name + ":";
    for (const auto& [what, where] : told) fault += " " + what + " in " + where + ";";
    fault.pop_back();
    faults.push_back(fault);
  }
  for (const std::string& fault : lifecycle_faults(texts.header, texts.table))
    if (std::ranges::find(faults, fault) == faults.end()) faults.push_back(fault);
  return faults;
}

}  // namespace sl::testing

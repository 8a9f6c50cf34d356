// Generates parts of the pages in a directory, or checks that they are up to date. In both modes
// every layer type must have a section, and the README a link to every page. Usage: layers_page
// (--write | --check) docs/layers
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>

#include "docs/layer_pages.h"
#include "support/page.h"
#include "testing/model.h"

namespace sl::testing {
namespace {

int run(const std::string& mode, const std::string& directory) {
  int failures = 0;
  const auto complain = [&](const std::string& text) {
    std::fprintf(stderr, "%s\n", text.c_str());
    ++failures;
  };
  const std::string index = read_file(directory + "/README.md");
  std::set<std::string> documented;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() != ".md") continue;
    const std::string path = entry.path().string(), name = entry.path().filename().string();
    if (name != "README.md" && index.find("(" + name + ")") == std::string::npos) {
      complain(directory + "/README.md: has no link to " + name);
    }
    const std::string page = read_file(path);
    const RenewedPage renewed = renew(page);
    documented.insert(renewed.types.begin(), renewed.types.end());
    for (const std::string& error : renewed.errors) complain(path + ": " + error);
    if (!renewed.errors.empty() || page == renewed.text) continue;
    if (mode == "--write") {
      std::ofstream(path, std::ios::binary) << renewed.text;
    } else {
      complain(path + ": " + difference(page, renewed.text) + "layers_page --write renews it");
    }
  }
  for (const std::string& type : types_without_section(documented)) {
    complain(directory + ": no page has a generated part for " + type);
  }
  std::printf("%zu layer types\n", documented.size());
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace sl::testing

int main(int argc, char** argv) {
  const std::string mode = argc == 3 ? argv[1] : "";
  if (mode != "--write" && mode != "--check") {
    std::fprintf(stderr, "usage: layers_page (--write | --check) docs/layers\n");
    return 2;
  }
  try {
    return sl::testing::run(mode, argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

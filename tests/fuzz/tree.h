// Finds files of the source tree for the corpus of a target.
#ifndef SEQUENCE_LAYERS_TESTS_FUZZ_TREE_H_
#define SEQUENCE_LAYERS_TESTS_FUZZ_TREE_H_

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace sl::fuzz {

inline std::string read_all(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The sorted files below a directory of tests/; all files if the extension is empty. Returns none
// if there is no such directory.
inline std::vector<std::filesystem::path> tree_paths(const std::string& directory,
                                                     const std::string& extension) {
  const std::filesystem::path root = std::filesystem::path(SL_TESTS_DIR) / directory;
  std::vector<std::filesystem::path> paths;
  if (!std::filesystem::exists(root)) return paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    const bool wanted = extension.empty() || entry.path().extension() == extension;
    if (entry.is_regular_file() && wanted) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

// Appends the recorded cases and the inputs of past faults with that extension. Large files are
// left out, as a mutation of one rarely hits an important byte.
inline void append_tree_files(const std::string& extension, std::vector<std::string>* all) {
  constexpr uintmax_t kMaxBytes = 4096;
  for (const char* directory : {"golden", "faults/inputs"}) {
    for (const std::filesystem::path& path : tree_paths(directory, extension)) {
      if (std::filesystem::file_size(path) <= kMaxBytes) all->push_back(read_all(path));
    }
  }
}

}  // namespace sl::fuzz

#endif  // SEQUENCE_LAYERS_TESTS_FUZZ_TREE_H_

#include "core/file.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace sl {
namespace {

TEST_CASE("a new file has all that was written, in order", "[file]") {
  std::string directory = (std::filesystem::temp_directory_path() / "sl_file_XXXXXX").string();
  REQUIRE(mkdtemp(directory.data()) != nullptr);
  const std::string path = directory + "/file";
  std::string wanted;
  {
    NewFile file(path);
    // More and less than the blocks in which a file is written.
    for (const size_t size : {size_t{3}, size_t{5} << 20, size_t{1}, size_t{0}, size_t{21} << 20}) {
      std::string piece(size, '\0');
      for (size_t i = 0; i < size; ++i) piece[i] = static_cast<char>(i * 7 + size);
      file.write(piece.data(), piece.size());
      wanted += piece;
    }
    CHECK(!std::filesystem::exists(path));
    file.finish();
  }
  CHECK(File(path).read(wanted.size()) == wanted);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace sl

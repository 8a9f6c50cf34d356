// Fault 20: arrays as NumPy writes them were misread or refused, and a WAV file that was still
// being recorded had no samples.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "cli/audio.h"
#include "cli/npy.h"
#include "faults/arrays.h"

namespace sl::testing {
namespace {

using Catch::Matchers::Contains;
using cli::NpyArray;

std::vector<double> values_of(const Tensor& x) {
  std::vector<double> out;
  for (int64_t i = 0; i < x.size(); ++i) out.push_back(x.at(i).real());
  return out;
}

NpyArray read(const std::string& image) { return cli::read_npy_array(write_file("a.npy", image)); }

std::string message_of(const std::string& image) {
  try {
    read(image);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no error";
}

// The values 0, 1, 2 and so on, in any type and byte order.
template <typename T>
void check_type(const std::string& code, sl_dtype dtype, const std::string& name) {
  const std::vector<T> values = {T(0), T(1), T(2), T(100)};
  for (const bool big : {false, true}) {
    const std::string descr = (sizeof(T) == 1 ? "|" : big ? ">" : "<") + code;
    INFO(descr);
    const NpyArray array = read(npy(descr, "(2, 2)", bytes_of(values, big)));
    CHECK(array.dtype == name);
    CHECK(array.values.dtype == dtype);
    CHECK(array.values.dims == std::vector<int64_t>{2, 2});
    CHECK(values_of(array.values) == std::vector<double>{0, 1, 2, 100});
  }
}

TEST_CASE("fault 20: every numeric type of NumPy is read", "[f20]") {
  check_type<float>("f4", SL_DTYPE_FLOAT32, "float32");
  check_type<double>("f8", SL_DTYPE_FLOAT32, "float64");
  check_type<int8_t>("i1", SL_DTYPE_INT8, "int8");
  check_type<int16_t>("i2", SL_DTYPE_INT32, "int16");
  check_type<int32_t>("i4", SL_DTYPE_INT32, "int32");
  check_type<int64_t>("i8", SL_DTYPE_INT32, "int64");
  check_type<uint8_t>("u1", SL_DTYPE_INT32, "uint8");
  check_type<uint16_t>("u2", SL_DTYPE_INT32, "uint16");
  check_type<uint32_t>("u4", SL_DTYPE_INT32, "uint32");
  check_type<uint64_t>("u8", SL_DTYPE_INT32, "uint64");
  for (const bool big : {false, true}) {
    const std::string order = big ? ">" : "<";
    const auto half = bytes_of<uint16_t>({0x3c00, 0xc000, 0x0001}, big);  // 1, -2, 2^-24
    CHECK(values_of(read(npy(order + "f2", "(3,)", half)).values) ==
          std::vector<double>{1, -2, std::ldexp(1, -24)});
    const Tensor c8 = read(npy(order + "c8", "(1,)", bytes_of<float>({1.5f, -2}, big))).values;
    CHECK(c8.dtype == SL_DTYPE_COMPLEX64);
    CHECK(c8.at(0) == std::complex<double>(1.5, -2));
    const Tensor c16 = read(npy(order + "c16", "(1,)", bytes_of<double>({0.5, 4}, big))).values;
    CHECK(c16.at(0) == std::complex<double>(0.5, 4));
  }
  const NpyArray flags = read(npy("|b1", "(3,)", std::string("\0\1\2", 3)));
  CHECK(flags.values.dtype == SL_DTYPE_BOOL);
  CHECK(flags.values.bytes == std::vector<uint8_t>{0, 1, 1});
  CHECK(values_of(read(npy("=i2", "(1,)", bytes_of<int16_t>({-7}))).values)[0] == -7);
}

TEST_CASE("fault 20: numbers that do not fit are errors", "[f20]") {
  const auto message = [](const char* descr, const std::string& data) {
    return message_of(npy(descr, "(1,)", data));
  };
  const auto i8 = [&](int64_t value) { return message("<i8", bytes_of<int64_t>({value})); };
  CHECK(i8(INT32_MAX) == "no error");
  CHECK(i8(INT32_MIN) == "no error");
  CHECK_THAT(i8(int64_t{INT32_MAX} + 1), Contains("its value 2147483648 does not fit int32"));
  CHECK_THAT(i8(int64_t{INT32_MIN} - 1), Contains("its value -2147483649 does not fit int32"));
  CHECK_THAT(i8(INT64_MIN), Contains("does not fit int32"));
  CHECK_THAT(message("<u4", bytes_of<uint32_t>({UINT32_MAX})), Contains("4294967295 does not fit"));
  CHECK_THAT(message("<u8", bytes_of<uint64_t>({UINT64_MAX})), Contains("does not fit int32"));
  CHECK_THAT(message("<f8", bytes_of<double>({1e39})), Contains("does not fit float32"));
  CHECK(message("<f8", bytes_of<double>({INFINITY})) == "no error");
  CHECK(message("<f8", bytes_of<double>({NAN})) == "no error");
}

TEST_CASE("fault 20: arrays in Fortran order are read", "[f20]") {
  const auto fortran = [](const std::string& shape, const std::vector<float>& data) {
    return read(
               npy("'shape': " + shape + ", 'fortran_order': True, 'descr': '<f4'", bytes_of(data)))
        .values;
  };
  CHECK(values_of(fortran("(2, 3)", {0, 3, 1, 4, 2, 5})) == std::vector<double>{0, 1, 2, 3, 4, 5});
  CHECK(values_of(fortran("(2, 1, 2)", {0, 2, 1, 3})) == std::vector<double>{0, 1, 2, 3});
  CHECK(values_of(fortran("(3,)", {0, 1, 2})) == std::vector<double>{0, 1, 2});
  CHECK(fortran("(3, 0)", {}).dims == std::vector<int64_t>{3, 0});
  CHECK(values_of(fortran("()", {7})) == std::vector<double>{7});
}

TEST_CASE("fault 20: headers are read as NumPy reads them", "[f20]") {
  const std::string data = bytes_of<float>({1, 2, 3});
  const std::string good = "'descr': '<f4', 'fortran_order': False, 'shape': (3,), ";
  for (const int version : {1, 2, 3}) CHECK(message_of(npy(good, data, version)) == "no error");
  CHECK_THAT(message_of(npy(good, data, 4)), Contains("its format version 4.0 is not read"));
  for (const char* fine : {"\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (3L,)",
                           "  'shape' :( 3 , ) ,'fortran_order':False,'descr':'<f4'"}) {
    CHECK(message_of(npy(fine, data)) == "no error");
  }
  const std::pair<const char*, const char*> bad[] = {
      {"'descr': '<f4', 'fortran_order': False, 'shape': (-3,), ", "negative size, -3"},
      {"'descr': '<f4', 'fortran_order': False, 'shape': (-1, -3), ", "negative size, -1"},
      {"'descr': '<f4', 'fortran_order': False, 'shape': (3), ", "shape is not as NumPy"},
      {"'descr': '<f4', 'fortran_order': False, 'shape': (3 1), ", "shape is not as NumPy"},
      {"'descr': '<f4', 'fortran_order': False, 'shape': (3.5,), ", "not as NumPy"},
      {"'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), ", "too large"},
      {"'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), ", "too large"},
      {"'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904), ", "too large"},
      {"'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,3), ",
       "11 dimensions, more than 10"},
      {"'descr': '<f4', 'fortran_order': False, 'shape': (4,), ", "does not fill its shape [4]"},
      {"'descr': '<f4', 'fortran_order': False, 'shape': (2,), ", "does not fill its shape [2]"},
      {"'descr': '<f4', 'fortran_order': Maybe, 'shape': (3,), ", "neither True nor False"},
      {"'descr': '<f4', 'shape': (3,), ", "has no 'fortran_order'"},
      {"'descr': '<f4', 'fortran_order': False, ", "has no 'shape'"},
      {"'fortran_order': False, 'shape': (3,), ", "has no 'descr'"},
      {"'descr': '<f4', 'descr': '<i4', 'fortran_order': False, 'shape': (3,), ", "'descr' twice"},
      {"'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': 1, ", "unknown 'x'"},
      {"'descr': '<M8[s]', 'fortran_order': False, 'shape': (3,), ", "type '<M8[s]' is not read"},
      {"'descr': '|O', 'fortran_order': False, 'shape': (3,), ", "is not read: expected one of"},
      {"'descr': '<f16', 'fortran_order': False, 'shape': (3,), ", "type '<f16' is not read"},
      {"'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), ", "a structured array"},
  };
  for (const auto& [header, message] : bad) {
    INFO(header);
    CHECK_THAT(message_of(npy(header, data)), Contains(message));
  }
  const std::string image = npy(good, data);
  for (size_t size = 0; size < image.size(); ++size) {
    INFO("cut to " << size << " of " << image.size());
    CHECK(message_of(image.substr(0, size)) != "no error");
  }
}

TEST_CASE("fault 20: the reported arrays are read or refused", "[f20]") {
  const auto run = [](const char* file, const std::string& out = scratch_directory() + "/o.npy") {
    return run_tool({"run", fault_input("models/ident"), fault_input(std::string("npy/") + file),
                     "--output", out});
  };
  CHECK_THAT(run("i8_big.npy").output, Contains("its value 1099511627777 does not fit int32"));
  CHECK(run("i8_big.npy").status == 1);
  CHECK_THAT(run("hand_negdim.npy").output, Contains("its shape has a negative size, -2"));
  CHECK(run("hand_negdim.npy").status == 1);
  for (const char* file : {"f4_fortran.npy", "i2.npy"}) {
    const std::string out = scratch_directory() + "/o.npy";
    const ToolRun done = run(file, out);
    INFO(done.output);
    CHECK(done.status == 0);
    const Tensor x = cli::read_npy(fault_input(std::string("npy/") + file));
    CHECK(x.dims == std::vector<int64_t>{2, 5, 3});
    CHECK(values_of(cli::read_npy(out)) == values_of(x));
  }
  const auto fortran = values_of(cli::read_npy(fault_input("npy/f4_fortran.npy")));
  const auto integers = values_of(cli::read_npy(fault_input("npy/i2.npy")));
  // The integers are the float values times 1000.
  for (size_t i = 0; i < fortran.size(); ++i)
    CHECK(integers[i] == Approx(1000 * fortran[i]).margin(1));
}

TEST_CASE("fault 20: arrays of sound samples are scaled like sound files", "[f20]") {
  const std::vector<int16_t> samples = {0, 16384, -32768, 32767};
  const std::string array = write_file("s.npy", npy("<i2", "(4,)", bytes_of(samples)));
  const auto output = [&](const std::string& file, const char* shape,
                          const char* dtype = "float32") {
    const std::string out = scratch_directory() + "/o.npy";
    const ToolRun run = run_tool({"run", fault_input("models/ident"), file, "--input", shape,
                                  "--dtype", dtype, "--output", out});
    INFO(run.output);
    REQUIRE(run.status == 0);
    return values_of(cli::read_npy(out));
  };
  const std::vector<double> scaled = {0, 0.5, -1, 32767.0 / 32768};
  CHECK(output(array, "scalar") == scaled);
  CHECK(output(write_file("s.wav", wav({44, 8}, samples)), "scalar") == scaled);
  const std::string column = write_file("s.npy", npy("<i2", "(4, 1)", bytes_of(samples)));
  CHECK(output(column, "1") == scaled);
  CHECK(output(array, "scalar", "int32") == std::vector<double>{0, 16384, -32768, 32767});
  const std::string rows = write_file("s.npy", npy("<i2", "(2, 2)", bytes_of(samples)));
  // Not sound: each step has two numbers.
  CHECK(output(rows, "2") == std::vector<double>{0, 16384, -32768, 32767});
  const std::string bytes = write_file("s.npy", npy("|u1", "(3,)", std::string("\x80\0\xc0", 3)));
  CHECK(output(bytes, "scalar") == std::vector<double>{0, -1, 0.5});
}

TEST_CASE("fault 20: unfinished WAV files are read to their end", "[f20]") {
  const std::vector<int16_t> samples = {100, -200, 300, -400, 500};
  const auto read_wav = [](const std::string& image) {
    std::vector<int> out;
    for (const float x : cli::read_audio(write_file("s.wav", image)).samples)
      out.push_back(static_cast<int>(std::lround(x * 32768)));
    return out;
  };
  const std::vector<int> wanted(samples.begin(), samples.end());
  CHECK(read_wav(wav({46, 10}, samples)) == wanted);
  for (const WavSizes sizes :
       {WavSizes{0, 0}, WavSizes{46, 0}, WavSizes{36, 0}, WavSizes{UINT32_MAX, UINT32_MAX},
        WavSizes{46, UINT32_MAX}, WavSizes{0x7ffff024, 0x7ffff000}, WavSizes{46, 1000}}) {
    INFO(sizes.riff << " " << sizes.data);
    CHECK(read_wav(wav(sizes, samples)) == wanted);
  }
  CHECK(read_wav(wav({0, 0}, samples, "\x01")) == wanted);  // the file ends within a sample
  CHECK(read_wav(wav({0, 0}, samples, "", /*big_endian=*/true)) == wanted);
  // Chunks after the data are not samples.
  const std::string list = std::string("LIST\4\0\0\0INFO", 12);
  CHECK(read_wav(wav({58, 10}, samples, list)) == wanted);
  CHECK_THROWS_WITH(read_wav(wav({48, 0}, {}, list)), Contains("has no samples"));
  CHECK_THROWS_WITH(read_wav(wav({36, 0}, {})), Contains("has no samples"));
}

TEST_CASE("fault 20: WAV files whose list has an impossible size are read", "[f20]") {
  const std::vector<int16_t> samples = {100, -200, 300, -400, 500};
  // libsndfile skips by such a size backwards, and never ends.
  const std::string list(
      "LIST\x10\0\0\0\1\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf7\xff\xff\xff", 24);
  std::string before = wav({70, 10}, samples);
  before.insert(before.find("data"), list);
  for (const std::string& image : {before, wav({70, 10}, samples, list)}) {
    const std::vector<float> read = cli::read_audio(write_file("s.wav", image)).samples;
    REQUIRE(read.size() == samples.size());
    for (size_t i = 0; i < read.size(); ++i) CHECK(read[i] * 32768 == samples[i]);
  }
}

struct Encoding {
  uint16_t tag, bits;
  uint16_t subformat = 0;  // in an extensible header
};

// A mono WAV file of such samples.
std::string encoded_wav(const Encoding& encoding, const std::string& samples) {
  const auto half = [](int value) { return bytes_of<uint16_t>({static_cast<uint16_t>(value)}); };
  const int bytes = (encoding.bits + 7) / 8;
  std::string format = half(encoding.tag) + half(1) + bytes_of<uint32_t>({16000}) +
                       bytes_of<uint32_t>({16000}) + half(bytes) + half(encoding.bits);
  if (encoding.subformat != 0) {
    format += half(22) + half(encoding.bits) + bytes_of<uint32_t>({0}) + half(encoding.subformat) +
              std::string(14, '\x71');
  }
  const auto size = [](const std::string& chunk) {
    return bytes_of<uint32_t>({static_cast<uint32_t>(chunk.size())});
  };
  const std::string chunks = "WAVEfmt " + size(format) + format + "data" + size(samples) + samples;
  return "RIFF" + size(chunks) + chunks;
}

TEST_CASE("fault 20: every encoding of WAV samples is read, others are refused by tag", "[f20]") {
  const auto read = [](const std::string& image) {
    return cli::read_audio(write_file("s.wav", image)).samples;
  };
  // A sample of 0.5 in each encoding.
  const std::string rest = std::string("\0\0\0", 3);
  CHECK(read(encoded_wav({1, 8}, "\xc0")) == std::vector<float>{0.5});
  CHECK(read(encoded_wav({1, 16}, std::string("\0\x40", 2))) == std::vector<float>{0.5});
  CHECK(read(encoded_wav({1, 24}, std::string("\0\0\x40", 3))) == std::vector<float>{0.5});
  CHECK(read(encoded_wav({1, 32}, rest + "\x40")) == std::vector<float>{0.5});
  CHECK(read(encoded_wav({3, 32}, bytes_of<float>({0.5}))) == std::vector<float>{0.5});
  CHECK(read(encoded_wav({3, 64}, bytes_of<double>({0.5}))) == std::vector<float>{0.5});
  // The smallest positive values of ITU-T G.711.
  CHECK(read(encoded_wav({6, 8}, "\xd5"))[0] == 8.0f / 32768);
  CHECK(read(encoded_wav({7, 8}, "\xff"))[0] == 0);
  CHECK(read(encoded_wav({0xfffe, 16, 1}, std::string("\0\x40", 2))) == std::vector<float>{0.5});
  CHECK_THROWS_WITH(
      read(encoded_wav({0x11, 4}, rest)),
      Contains("cannot read") && Contains("its samples have format tag 17 and 1 bytes"));
  CHECK_THROWS_WITH(read(encoded_wav({0xfffe, 16, 2}, rest)), Contains("format tag 2 and 2 bytes"));
  std::string image = wav({46, 10}, {1, 2, 3, 4, 5});
  CHECK_THROWS_WITH(read(image.substr(0, 12) + image.substr(36)), Contains("no fmt chunk before"));
  CHECK_THROWS_WITH(read(image.substr(0, 36)), Contains("it has no data chunk"));
  image[22] = 0;
  CHECK_THROWS_WITH(read(image), Contains("its fmt chunk has 0 channels"));
}

TEST_CASE("fault 20: RF64 files without sizes are read to their end", "[f20]") {
  const std::vector<int16_t> samples = {100, -200, 300};
  const std::string plain = wav({0, UINT32_MAX}, samples);
  for (const uint64_t size : {uint64_t{6}, uint64_t{0}}) {
    const std::string image = "RF64\xff\xff\xff\xffWAVEds64" + bytes_of<uint32_t>({28}) +
                              bytes_of<uint64_t>({size, size, 0}) + bytes_of<uint32_t>({0}) +
                              plain.substr(12);
    CHECK(cli::read_audio(write_file("s.wav", image)).samples.size() == samples.size());
  }
}

TEST_CASE("fault 20: the reported sound is read", "[f20]") {
  const std::string out = scratch_directory() + "/o.npy";
  const ToolRun run = run_tool(
      {"run", fault_input("models/ident"), fault_input("wav/size_zero.wav"), "--output", out});
  INFO(run.output);
  CHECK(run.status == 0);
  CHECK(cli::read_npy(out).size() == 101);
}

}  // namespace
}  // namespace sl::testing

// Shapes with storage of their own, so that steps can handle them without allocating.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <numeric>
#include <span>
#include <string>

#include "core/dtype.h"
#include "core/status.h"

namespace sl {

// Any size at this dimension, in a shape that is expected.
constexpr int64_t kAnySize = -1;

class Shape {
 public:
  static constexpr int kMaxRank = 10;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    for (int64_t d : dims) push_back(d);
  }
  explicit Shape(std::span<const int64_t> dims) {
    for (int64_t d : dims) push_back(d);
  }

  int rank() const { return rank_; }
  bool empty() const { return rank_ == 0; }
  int64_t operator[](int i) const { return dims_[static_cast<size_t>(i)]; }
  int64_t& operator[](int i) { return dims_[static_cast<size_t>(i)]; }
  int64_t back() const { return (*this)[rank_ - 1]; }
  int64_t& back() { return (*this)[rank_ - 1]; }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }

  void push_back(int64_t dim) { insert(rank_, dim); }
  void pop_back() { --rank_; }
  void insert(int at, int64_t dim) {
    if (rank_ == kMaxRank) fail(Code::kShape, "more than {} dimensions", kMaxRank);
    for (int i = rank_; i > at; --i) (*this)[i] = (*this)[i - 1];
    (*this)[at] = dim;
    ++rank_;
  }
  void erase(int at) {
    for (int i = at; i + 1 < rank_; ++i) (*this)[i] = (*this)[i + 1];
    --rank_;
  }
  // Dimensions [from, to).
  Shape slice(int from, int to) const {
    return Shape(std::span(begin() + from, static_cast<size_t>(to - from)));
  }
  // Number of elements: 1 for rank 0.
  int64_t size() const {
    return std::accumulate(begin(), end(), int64_t{1}, [](int64_t a, int64_t b) { return a * b; });
  }
  bool operator==(const Shape& other) const { return std::ranges::equal(*this, other); }

 private:
  int rank_ = 0;
  std::array<int64_t, kMaxRank> dims_{};
};

// "[2, 16, any]".
std::string to_string(const Shape& shape);

// Whether the two are equal where both know the size.
bool matches(const Shape& a, const Shape& b);

// NumPy broadcasting, aligned at the last dimension.
Shape broadcast(const Shape& a, const Shape& b);

// What one timestep holds.
struct ChannelSpec {
  DType dtype = DType::kFloat32;
  Shape shape;
  bool operator==(const ChannelSpec&) const = default;
};

// "float32[64, 2]".
std::string to_string(const ChannelSpec& spec);

}  // namespace sl

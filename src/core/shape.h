// Shapes with inline storage, so that steps can use them without allocating.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "core/dtype.h"
#include "core/size.h"

namespace sl {

// In an expected shape, stands for any size of this dimension.
constexpr int64_t kAnySize = -1;

class Shape {
 public:
  static constexpr int kMaxRank = 10;

  Shape() { std::fill_n(dims_, kUsualRank, 0); }
  Shape(std::initializer_list<int64_t> dims) : Shape() {
    for (int64_t d : dims) push_back(d);
  }
  explicit Shape(std::span<const int64_t> dims) : Shape() {
    if (dims.size() > kMaxRank) fail_rank();
    for (int64_t d : dims) dims_[rank_++] = d;
  }
  Shape(const Shape& other) { assign(other); }
  Shape& operator=(const Shape& other) {
    assign(other);
    return *this;
  }

  int rank() const { return rank_; }
  bool empty() const { return rank_ == 0; }
  int64_t operator[](int i) const { return dims_[i]; }
  int64_t& operator[](int i) { return dims_[i]; }
  int64_t back() const { return (*this)[rank_ - 1]; }
  int64_t& back() { return (*this)[rank_ - 1]; }
  const int64_t* begin() const { return dims_; }
  const int64_t* end() const { return dims_ + rank_; }

  void push_back(int64_t dim) { insert(rank_, dim); }
  void pop_back() { --rank_; }
  void insert(int at, int64_t dim) {
    if (rank_ == kMaxRank) fail_rank();
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
  // Number of elements, 1 for rank 0. Fails if it does not fit into 64 bits.
  int64_t size() const {
    int64_t size = 1;
    for (int64_t dim : *this) size = checked_product(size, dim);
    return size;
  }
  bool operator==(const Shape& other) const { return ends_with(other, 0); }
  // Whether the dimensions from `from` on equal all dimensions of the other shape.
  bool ends_with(const Shape& other, int from) const {
    return std::equal(begin() + from, end(), other.begin(), other.end());
  }

 private:
  // Steps copy shapes often, and few have more dimensions than this. Copying reads further ones
  // only if there are more.
  static constexpr int kUsualRank = 4;

  [[noreturn]] static void fail_rank() { fail(Code::kShape, "more than {} dimensions", kMaxRank); }
  void assign(const Shape& other) {
    rank_ = other.rank_;
    std::copy_n(other.dims_, kUsualRank, dims_);
    for (int i = kUsualRank; i < rank_; ++i) dims_[i] = other.dims_[i];
  }

  int rank_ = 0;
  int64_t dims_[kMaxRank];
};

// Text such as "[2, 16, any]".
std::string to_string(const Shape& shape);

// Whether two shapes have the same rank and equal sizes wherever neither is kAnySize.
bool matches(const Shape& a, const Shape& b);

// NumPy broadcasting, aligned at the last dimension.
Shape broadcast(const Shape& a, const Shape& b);

// Dtype and channel shape of one timestep.
struct ChannelSpec {
  DType dtype = DType::kFloat32;
  Shape shape;
  bool operator==(const ChannelSpec&) const = default;
};

// Text such as "float32[64, 2]".
std::string to_string(const ChannelSpec& spec);

}  // namespace sl

// Base of S5 and LRU: a diagonal system that all channels share.
#pragma once

#include <vector>

#include "kernels/state_space.h"
#include "layers/ssm/discretization.h"
#include "layers/ssm/state_space_layer.h"
#include "ops/associative_scan.h"
#include "ops/linear.h"

namespace sl {

// The system x = a x + B u, y = Re(C x) + d u, with B [n, channels] and C [channels, n].
struct SharedSystem {
  std::vector<complex128> a, b, c;
  std::vector<float> d;
};

class SharedDiagonal : public StateSpaceLayer {
 protected:
  explicit SharedDiagonal(const SharedSystem& system)
      : StateSpaceLayer(static_cast<int64_t>(system.d.size())),
        n_(static_cast<int64_t>(system.a.size())),
        a_(parts(system.a)),
        in_(make_in(system)),
        out_(make_out(system)),
        d_(system.d) {}

 private:
  // The values as floats, all real parts before all imaginary parts.
  static std::vector<float> parts(const std::vector<complex128>& values) {
    std::vector<float> out;
    for (const complex128& v : values) out.push_back(static_cast<float>(v.real()));
    for (const complex128& v : values) out.push_back(static_cast<float>(v.imag()));
    return out;
  }

  ops::Linear make_in(const SharedSystem& system) const {
    return {parts(system.b).data(), 1, channels(), channels(), 2 * n_};
  }

  ops::Linear make_out(const SharedSystem& system) const {
    std::vector<complex128> conjugate(system.c.size());
    for (size_t i = 0; i < conjugate.size(); ++i) conjugate[i] = std::conj(system.c[i]);
    // Transposes [2, channels, n] to [2 n, channels], for products with n real and n imaginary
    // inputs.
    const std::vector<float> c = parts(conjugate);
    std::vector<float> rows(c.size());
    for (int64_t i = 0; i < 2 * n_; ++i) {
      for (int64_t h = 0; h < channels(); ++h) {
        rows[static_cast<size_t>(i * channels() + h)] =
            c[static_cast<size_t>((i / n_ * channels() + h) * n_ + i % n_)];
      }
    }
    return {rows.data(), channels(), 1, 2 * n_, channels()};
  }

  Shape state_shape(int64_t batch) const override { return {batch, 2, n_}; }

  // The recurrence x = a x + v over complex rows v [batch, time, 2, n], which x replaces.
  class Values final : public ops::LinearRecurrence {
   public:
    Values(const std::vector<float>& a, int64_t time, float* v)
        : a_(a.data()), n_(static_cast<int64_t>(a.size()) / 2), time_(time), v_(v) {}

    void scan(const ops::ScanPart& part, float* state, float*) const override {
      kernels::diagonal_scan(a_, n_, part.first, part.last, part.steps(), rows(part), state);
    }
    void reduce(const ops::ScanPart& part, float* state, float* decay, float*) const override {
      kernels::diagonal_reduce(a_, n_, part.first, part.last, part.steps(), rows(part), state);
      for (int64_t i = part.first; i < part.last; ++i) {
        const complex128 power = std::pow(complex128(a_[i], a_[n_ + i]), part.steps());
        decay[i] = static_cast<float>(power.real());
        decay[n_ + i] = static_cast<float>(power.imag());
      }
    }
    void carry(const float* decay, int64_t, float* end, float* state) const override {
      kernels::diagonal_scan(decay, n_, 0, n_, 1, end, state);
    }

   private:
    float* rows(const ops::ScanPart& part) const {
      return v_ + (part.item * time_ + part.begin) * 2 * n_;
    }

    const float* a_;
    int64_t n_;
    int64_t time_;
    float* v_;
  };

  void scan(Run& run, const Sequence& x, float* state, const Sequence& y) const override {
    const int64_t row = 2 * n_;
    float* v = run.scratch<float>(x.steps(), row);
    in_.apply(run, x.floats(), channels(), x.steps(), nullptr, false, v, row);
    // The complex multiply-adds of the recurrence, and the products d u; others count themselves.
    run.parallel().count(x.steps() * (8 * n_ + channels()));
    ops::associative_scan(run, {.batch = x.batch, .time = x.time, .lanes = n_, .planes = 2},
                          Values(a_, x.time, v), state);
    ops::for_steps(run, x.steps(), channels(), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        kernels::binary(kernels::Binary::kMultiply, x.floats() + t * channels(), d_.data(),
                        y.floats() + t * channels(), channels());
      }
    });
    out_.apply(run, v, row, x.steps(), nullptr, true, y.floats(), channels());
  }

  int64_t n_;
  std::vector<float> a_;
  ops::Linear in_, out_;
  std::vector<float> d_;
};

}  // namespace sl

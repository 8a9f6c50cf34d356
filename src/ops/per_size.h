// What a layer makes for each size of its input that it meets: plans, windows, matrices.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace sl::ops {

// Values of T(key), made when first asked for and kept as long as this is. Any thread may ask; what
// `declare` has asked for is found without locks or allocations in steps.
template <typename T>
class PerSize {
 public:
  PerSize() = default;
  PerSize(const PerSize&) = delete;
  PerSize& operator=(const PerSize&) = delete;
  ~PerSize() {
    for (Node* node = first_.load(); node;) delete std::exchange(node, node->next);
  }

  template <typename Make>
  const T& get(int64_t key, Make&& make) const {
    if (const T* found = find(key)) return *found;
    // Two threads may both make it: then the second one's stays unused.
    Node* node = new Node{key, make(), first_.load()};
    while (!first_.compare_exchange_weak(node->next, node)) {
    }
    return node->value;
  }

 private:
  struct Node {
    int64_t key;
    T value;
    Node* next;
  };

  const T* find(int64_t key) const {
    for (const Node* node = first_.load(); node; node = node->next) {
      if (node->key == key) return &node->value;
    }
    return nullptr;
  }

  mutable std::atomic<Node*> first_ = nullptr;
};

}  // namespace sl::ops

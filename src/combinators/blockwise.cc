// Blockwise: runs its child with a larger block size (reference: combinators.Blockwise).
#include "combinators/wrapper.h"
#include "core/status.h"

namespace sl {
namespace {

class Blockwise final : public Wrapper {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : child_layer(config.nested_required("child_layer")),
          block_size(config.integer("block_size", 1)),
          path(config.path()) {}
    Config child_layer;
    int64_t block_size;
    std::string path;
  };

  Blockwise(Fields fields, const Init& init)
      : Wrapper(init.builder.build(fields.child_layer, init.weights, "child_layer",
                                   /*share_scope=*/true)),
        block_size_(fields.block_size) {
    if (block_size_ % child().block_size() != 0) {
      fail(Code::kConfig,
           "{}.block_size (Blockwise): expected a multiple of {}, the child's block size, got {}",
           fields.path, child().block_size(), block_size_);
    }
  }

  int64_t block_size() const override { return block_size_; }

 private:
  int64_t block_size_;
};

SL_REGISTER_LAYER(Blockwise);

}  // namespace
}  // namespace sl

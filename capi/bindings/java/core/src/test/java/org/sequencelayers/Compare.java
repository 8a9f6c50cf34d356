package org.sequencelayers;

import static org.junit.jupiter.api.Assertions.assertEquals;

/** Comparisons of sequences with masks. */
final class Compare {
  private Compare() {}

  /** Compares a block with the steps from `start` on of the expected sequence, where valid. */
  static void steps(Sequence expected, int start, Sequence block, double tolerance, String what) {
    int time = (int) expected.dim(1);
    int blockTime = (int) block.dim(1);
    int channels = expected.floats().capacity() / (int) (expected.dim(0) * time);
    for (int item = 0; item < block.dim(0); ++item) {
      for (int t = 0; t < blockTime; ++t) {
        int from = item * time + start + t;
        int to = item * blockTime + t;
        assertEquals(expected.mask().get(from), block.mask().get(to), what + ": mask at " + from);
        for (int c = 0; expected.mask().get(from) != 0 && c < channels; ++c) {
          assertEquals(
              expected.floats().get(from * channels + c),
              block.floats().get(to * channels + c),
              tolerance,
              what + ": step " + from + " channel " + c);
        }
      }
    }
  }

  static void whole(Sequence expected, Sequence actual, double tolerance, String what) {
    assertEquals(expected.dim(1), actual.dim(1), what);
    steps(expected, 0, actual, tolerance, what);
  }
}

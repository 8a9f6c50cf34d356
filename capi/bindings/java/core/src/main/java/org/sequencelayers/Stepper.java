package org.sequencelayers;

import java.lang.ref.Reference;

/**
 * Steps a state from an input to an output that stay where they are, block after block of one size.
 * Each step reads what the input's buffer then holds. It is made by {@link State#stepper(long)} and
 * follows the thread rules of its state.
 */
public final class Stepper implements AutoCloseable {
  private final State state;
  private final Sequence x;
  private final Sequence y;
  private final RunOptions options;
  private final FirstItems first;
  private final long inputAddress;
  private final long outputAddress;

  Stepper(State state, Sequence x, Sequence y, Constants constants, Emits emits) {
    this.state = state;
    this.x = x;
    this.y = y;
    options = new RunOptions(constants, emits);
    first = new FirstItems(state.batch(), x, y, constants, emits);
    inputAddress = x.address();
    outputAddress = y.address();
  }

  /**
   * The input, to be written before each step.
   *
   * @return the same object each time
   */
  public Sequence input() {
    return x;
  }

  /**
   * The output of the last step.
   *
   * @return the same object each time
   */
  public Sequence output() {
    return y;
  }

  /**
   * Runs the next block. Real-time safe: it allocates nothing and takes no lock, unless it fails.
   */
  public void step() {
    try {
      state.enterAndStep(inputAddress, outputAddress, options);
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  /**
   * Runs the next block of some of the streams; all others stay as they are. Input, output,
   * constants and emits have the items of these streams first. Real-time safe, as {@link #step}.
   *
   * @param slots different items of the batch, in any order: that of the items in the buffers
   */
  public void stepSlots(long... slots) {
    try {
      state.enterAndStepSlots(slots, first);
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  /** Closes the state. */
  @Override
  public void close() {
    state.close();
  }
}

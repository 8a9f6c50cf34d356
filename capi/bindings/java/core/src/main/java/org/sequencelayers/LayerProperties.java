package org.sequencelayers;

/** Properties of a custom layer: {@code sl_layer_properties}. A new object holds the defaults. */
public final class LayerProperties {
  private boolean layerWiseOnly;
  private long blockSize;
  private Ratio outputRatio = new Ratio(0, 0);
  private long inputLatency;
  private long outputLatency;
  private ReceptiveField receptiveField = new ReceptiveField(0, 0);
  private boolean readsInvalidSteps;
  private boolean countsInvalidSteps;

  /** The defaults: a pointwise layer that steps. */
  public LayerProperties() {}

  /**
   * Declares that it cannot step.
   *
   * @return this
   */
  public LayerProperties layerWiseOnly() {
    layerWiseOnly = true;
    return this;
  }

  /**
   * Sets the block size.
   *
   * @param steps 0: 1
   * @return this
   */
  public LayerProperties blockSize(long steps) {
    blockSize = steps;
    return this;
  }

  /**
   * Sets the output steps for each input step.
   *
   * @param ratio by default one
   * @return this
   */
  public LayerProperties outputRatio(Ratio ratio) {
    outputRatio = ratio;
    return this;
  }

  /**
   * Sets the latencies.
   *
   * @param input input steps
   * @param output output steps; 0: the input latency times the output ratio, rounded down;
   *     negative: none
   * @return this
   */
  public LayerProperties latency(long input, long output) {
    inputLatency = input;
    outputLatency = output;
    return this;
  }

  /**
   * Sets the input steps that can affect an output step.
   *
   * @param field relative to the output's step
   * @return this
   */
  public LayerProperties receptiveField(ReceptiveField field) {
    receptiveField = field;
    return this;
  }

  /**
   * Declares that valid output steps depend on the values of invalid input steps.
   *
   * @return this
   */
  public LayerProperties readsInvalidSteps() {
    readsInvalidSteps = true;
    return this;
  }

  /**
   * Declares that the state also advances on invalid steps.
   *
   * @return this
   */
  public LayerProperties countsInvalidSteps() {
    countsInvalidSteps = true;
    return this;
  }

  /** Writes field by field, and nothing beyond the size that the struct says. */
  void write(Struct out) {
    out.putInt(4, layerWiseOnly ? 1 : 0).putLong(8, blockSize);
    out.putLong(16, outputRatio.numerator()).putLong(24, outputRatio.denominator());
    out.putLong(32, inputLatency).putLong(40, outputLatency);
    out.putLong(48, receptiveField.start()).putLong(56, receptiveField.end());
    out.putInt(64, readsInvalidSteps ? 1 : 0).putInt(68, countsInvalidSteps ? 1 : 0);
  }
}

package org.sequencelayers.flink;

/** The model's output for a block: an element of the job's output. */
public final class SessionResult {
  /** The session. */
  public String session;

  /** Number of the block within its session. */
  public long index;

  /** The values that the step put out. */
  public float[] values;

  /** For Flink's serializer. */
  public SessionResult() {}

  /**
   * Makes a result.
   *
   * @param session the key
   * @param index number of the block within its session
   * @param values the step's output
   */
  public SessionResult(String session, long index, float[] values) {
    this.session = session;
    this.index = index;
    this.values = values;
  }
}

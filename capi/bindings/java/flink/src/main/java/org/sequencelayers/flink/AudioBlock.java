package org.sequencelayers.flink;

/** The next block of a session's audio: an element of the job's input. */
public final class AudioBlock {
  /** The session, which is the key of the stream. */
  public String session;

  /** Number of the block within its session, counted from 0. */
  public long index;

  /** As many samples as {@link SessionOptions#blockSteps} says. */
  public float[] samples;

  /** Whether the session ends with this block: its state is dropped. */
  public boolean last;

  /** For Flink's serializer. */
  public AudioBlock() {}

  /**
   * Makes a block.
   *
   * @param session the key
   * @param index number of the block within its session
   * @param samples its audio
   * @param last whether it is the session's last
   */
  public AudioBlock(String session, long index, float[] samples, boolean last) {
    this.session = session;
    this.index = index;
    this.samples = samples;
    this.last = last;
  }
}

package org.sequencelayers;

/** How audio goes through a model: {@code sl_pipe_options}. A new object holds the defaults. */
public final class PipeOptions {
  private Channels channels = Channels.DEFAULT;
  private double hostRate;
  private double modelRate;
  private long hostChannels;
  private int maxFrames;
  private long minLatency;
  private long fadeFrames;
  private float dry;
  private Quality quality = Quality.DEFAULT;

  /** How channels of a host go through a model. */
  public enum Channels {
    /** {@link #EACH} for a model that makes one channel of one, {@link #MODEL} for any other. */
    DEFAULT,
    /** A model of one channel hears each of the host's alone, as streams of a batch. */
    EACH,
    /** A model of one input channel hears the mean of the host's. */
    MIX,
    /** The model's input channels are the host's. */
    MODEL
  }

  /** How well sample rates are converted. */
  public enum Quality {
    /** {@link #MEDIUM}. */
    DEFAULT,
    /** Noise below -97 dB, passes 80 % of the bandwidth, looks some 20 samples ahead. */
    FAST,
    /** Noise below -121 dB, 90 %, some 46 samples. */
    MEDIUM,
    /** Noise below -145 dB, 96 %, some 143 samples. */
    BEST
  }

  /** The defaults: the model's rate and channels, the model alone. */
  public PipeOptions() {}

  /**
   * Sets how channels go through the model.
   *
   * @param channels by default as the model allows
   * @return this
   */
  public PipeOptions channels(Channels channels) {
    this.channels = channels;
    return this;
  }

  /**
   * Sets the frames a second of the host.
   *
   * @param rate 0: those of the model
   * @return this
   */
  public PipeOptions hostRate(double rate) {
    hostRate = rate;
    return this;
  }

  /**
   * Sets the steps a second of the model.
   *
   * @param rate 0: the "sample_rate" of its metadata, or else those of the host
   * @return this
   */
  public PipeOptions modelRate(double rate) {
    modelRate = rate;
    return this;
  }

  /**
   * Sets the number of channels.
   *
   * @param channels 1 to 128; 0: those of the model
   * @return this
   */
  public PipeOptions hostChannels(long channels) {
    hostChannels = channels;
    return this;
  }

  /**
   * Sets the maximum of frames in one call of the library; longer arrays take several.
   *
   * @param frames 1 to 2^20; 0: 4096
   * @return this
   */
  public PipeOptions maxFrames(int frames) {
    maxFrames = frames;
    return this;
  }

  /**
   * Sets the minimum of the latency, so that models of different latency can be swapped without a
   * change of it.
   *
   * @param frames 0: as few as the model allows
   * @return this
   */
  public PipeOptions minLatency(long frames) {
    minLatency = frames;
    return this;
  }

  /**
   * Sets the length of a cross-fade after a swap.
   *
   * @param frames 0: a fiftieth of a second
   * @return this
   */
  public PipeOptions fadeFrames(long frames) {
    fadeFrames = frames;
    return this;
  }

  /**
   * Sets the share of the input in the output.
   *
   * @param dry 0, the model alone, to 1, the input alone
   * @return this
   */
  public PipeOptions dry(float dry) {
    this.dry = dry;
    return this;
  }

  /**
   * Sets how well sample rates are converted.
   *
   * @param quality the better, the later
   * @return this
   */
  public PipeOptions quality(Quality quality) {
    this.quality = quality;
    return this;
  }

  int maxFrames() {
    return maxFrames == 0 ? 4096 : maxFrames;
  }

  Struct write() {
    Struct struct = Struct.sized(72).putInt(4, channels.ordinal());
    struct.putDouble(8, hostRate).putDouble(16, modelRate).putLong(24, hostChannels);
    struct.putLong(32, maxFrames).putLong(40, minLatency).putLong(48, fadeFrames);
    return struct.putFloat(56, dry).putInt(60, quality.ordinal());
  }
}

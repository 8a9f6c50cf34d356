package org.sequencelayers;

import com.google.gson.JsonParser;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;

/**
 * The suite's custom layer: y = gain x + s, with the sum s of the valid x of each channel so far.
 */
final class TestGain implements CustomLayer {
  private final float gain;

  TestGain(String config, WeightSource weights) {
    gain = JsonParser.parseString(config).getAsJsonObject().get("gain").getAsFloat();
    if (gain < 0) {
      throw new IllegalArgumentException("a gain of " + Math.round(gain) + " is negative");
    }
  }

  @Override
  public LayerProperties properties() {
    return new LayerProperties().receptiveField(new ReceptiveField(-Long.MAX_VALUE, 0));
  }

  private static int channels(ChannelSpec spec) {
    return spec.shape().stream().mapToInt(Math::toIntExact).reduce(1, Math::multiplyExact);
  }

  @Override
  public int stateSize(ChannelSpec input) {
    return channels(input) * Float.BYTES;
  }

  @Override
  public void layer(Sequence x, Sequence y) {
    int sums = (int) x.dim(0) * channels(x.channelSpec());
    run(FloatBuffer.allocate(sums), x, y);
  }

  @Override
  public void step(ByteBuffer state, Sequence x, Sequence y) {
    run(state.asFloatBuffer(), x, y);
  }

  private void run(FloatBuffer sums, Sequence x, Sequence y) {
    int channels = channels(x.channelSpec());
    for (int item = 0; item < x.dim(0); ++item) {
      for (int t = 0; t < x.dim(1); ++t) {
        int step = (int) (item * x.dim(1)) + t;
        boolean valid = x.mask().get(step) != 0;
        for (int c = 0; valid && c < channels; ++c) {
          float value = x.floats().get(step * channels + c);
          int sum = item * channels + c;
          sums.put(sum, sums.get(sum) + value);
          y.floats().put(step * channels + c, gain * value + sums.get(sum));
        }
      }
    }
  }
}

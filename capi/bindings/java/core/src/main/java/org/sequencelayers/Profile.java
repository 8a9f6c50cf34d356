package org.sequencelayers;

import java.util.function.LongToIntFunction;

/**
 * What each layer costs, in the runs that are recorded: {@code sl_profile}. Those are of a {@link
 * State} or {@link Decoder} that was told to record, or of {@link Layer#apply(Sequence, Sequence,
 * Constants, Emits, Profile)}. They take place on one thread, and allocate. One thread at a time
 * uses a profile.
 */
public final class Profile implements AutoCloseable {
  private final Handle handle;
  private final Exclusive use = new Exclusive();

  /** A profile of nothing. */
  public Profile() {
    handle = new Handle(this, Calls.make(Calls.ABI::profileCreate), Calls.ABI::profileFree, null);
  }

  /** Forgets what was recorded. */
  public void reset() {
    call(error -> Calls.ABI.profileReset(handle.address(), error));
  }

  /**
   * The costs of the layers, in the order of their first calls.
   *
   * @return JSON: {@code {"layers": [{"path", "type", "parent", "calls", "self_seconds", "flop",
   *     "bytes", "folded_into"}, ...]}}; {@code parent} is the index of the layer that called it,
   *     null for the model, and {@code folded_into} that of the layer whose kernel does its work
   */
  public String describe() {
    Struct needed = new Struct(Long.BYTES);
    Struct[] text = {new Struct(0)};
    do {
      text[0] = new Struct(Math.toIntExact(needed.getLong(0)));
      call(
          error ->
              Calls.ABI.profileDescribe(
                  handle.address(), text[0].address(), text[0].size(), needed.address(), error));
    } while (needed.getLong(0) > text[0].size());
    return text[0].text(0);
  }

  /** Frees the profile. Does nothing the second time. */
  @Override
  public void close() {
    if (use.close()) {
      handle.close();
    }
  }

  private void call(LongToIntFunction call) {
    use.enter();
    try {
      Calls.check(call);
    } finally {
      use.exit();
    }
  }

  /** Begins a run that is recorded. The address; 0 for null. */
  static long enter(Profile profile) {
    if (profile == null) {
      return 0;
    }
    profile.use.enter();
    return profile.handle.address();
  }

  /** Ends a run. */
  static void exit(Profile profile) {
    if (profile != null) {
      profile.use.exit();
    }
  }
}

import { Refusal, pause } from '../api';
import type { Person } from '../people';
import { markRead } from './gateway';
import type { Room } from './model';

/** Says that a room is read: one request for several messages in a row. */
export class Reading {
  private under = false;

  /** `wanted`: the room that somebody looks at and that has something new. */
  constructor(
    private readonly person: Person,
    private readonly wanted: () => Room | undefined,
    private readonly lookUp: (roomId: string) => Room | undefined,
    private readonly done: () => void,
  ) {}

  look(): void {
    const room = this.wanted();
    if (this.under || room === undefined) return;
    this.under = true;
    void this.read(room.id).then(() => {
      this.under = false;
      this.look();
    });
  }

  private async read(roomId: string): Promise<void> {
    await pause(120);
    const seen = this.lookUp(roomId)?.lastMessage?.id;
    try {
      await markRead(this.person, roomId);
    } catch (error) {
      if (error instanceof Refusal && error.passing) return pause(2_000);
    }
    const room = this.lookUp(roomId);
    if (room !== undefined && room.lastMessage?.id === seen) room.unreadCount = 0;
    this.done();
  }
}
